// The control center: one feed for news and the log, parts that are fetched when there is news of them.
import "./live.js";
