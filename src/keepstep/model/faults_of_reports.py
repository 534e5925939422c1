"""What can go wrong with reports: documents that have to be read, and proven, before anything of them is used."""

from keepstep.model.faults import Fault

_NOTHING_CHANGED = "Nothing of the report is used: the tables stay as they are. It is kept, to be looked at."
_LOOK = "Look at the kept document. If the ERP prints it so now, its layout here has to follow (docs/erp.md)."
_AGAIN = "It is asked for again by itself; if it stays so, print the report by hand and compare."

OF_REPORTS = (
    Fault(
        "login-refused", "error", "The login is refused",
        "{title} refused the user or the password.", "Nothing is read; the tables stay as they are and grow old.",
        "Try them in a browser at {url}, then set them again ({key_setting}).",
    ),
    Fault(
        "session-lost", "error", "The session ends at once",
        "{title} let us in and then asked for the login again.", "Nothing is read; the next run tries again.",
        "See whether somebody else is signed in with the same user; give this service one of its own.",
    ),
    Fault(
        "report-refused", "error", "The report is refused",
        "{title} does not make the report {path}: {detail}.", "This entity is not read and grows old; others go on.",
        "Check that the user may print it, and that the agent exists.",
    ),
    Fault(
        "report-failed", "error", "The ERP could not make the report",
        "{title} began the report {path} and gave up: {detail}.", "Nothing has changed; the next run asks again.",
        _AGAIN,
    ),
    Fault(
        "report-forgotten", "error", "The ERP has forgotten the report",
        "{title} forgot the report {path} before it was fetched: {detail}.",
        "Nothing has changed; the next run asks again.",
        "It is asked for again by itself; if it stays so, see whether the ERP restarts, or clears its prints too soon.",
    ),
    Fault(
        "report-late", "error", "The report is not ready in time",
        "{title} has not finished the report {path} after {count} s.", "Nothing has changed; the next run asks again.",
        "It is asked for again by itself; if it stays so, let it run at a quieter hour.",
    ),
    Fault(
        "report-html", "error", "A web page instead of the report",
        "What came as the report {path} is a web page: {detail}.", _NOTHING_CHANGED, _AGAIN,
    ),
    Fault(
        "report-not-pdf", "error", "The report is no PDF",
        "What came as the report {path} is no PDF: {detail}.", _NOTHING_CHANGED, _AGAIN,
    ),
    Fault(
        "report-cut-off", "error", "The report is cut off or broken",
        "The report {path} is not whole: {detail}.", _NOTHING_CHANGED,
        "It is fetched again by itself; if it stays so, look for a proxy on the way, and for a full disk at the ERP.",
    ),
    Fault(
        "report-scan", "error", "The report is a picture",
        "The report {path} cannot be read: {detail}.", _NOTHING_CHANGED,
        "Let the ERP print a PDF with text in it; a scan cannot be read.",
    ),
    Fault(
        "report-other", "error", "It is another report",
        "What came is not the report {path}: {detail}.", _NOTHING_CHANGED,
        "Check what the ERP prints for this user under this name.",
    ),
    Fault(
        "report-columns", "error", "The report has other columns",
        "The report {path} is laid out in another way: {detail}.", _NOTHING_CHANGED, _LOOK,
    ),
    Fault(
        "report-unreadable", "error", "A line of the report cannot be placed",
        "The report {path} has a line that cannot be placed: {detail}.", _NOTHING_CHANGED, _LOOK,
    ),
    Fault(
        "report-cell", "error", "A cell of the report is not of its type",
        "The report {path} has a cell that is not of its column's type: {detail}.", _NOTHING_CHANGED, _LOOK,
    ),
    Fault(
        "report-pages", "error", "Pages of the report are missing",
        "The report {path} does not have all its pages: {detail}.", _NOTHING_CHANGED, _AGAIN,
    ),
    Fault(
        "report-carry", "error", "A sum carried over does not hold",
        "The report {path} contradicts itself between two pages: {detail}.", _NOTHING_CHANGED, _LOOK,
    ),
    Fault(
        "report-total", "error", "The printed total does not hold",
        "The rows of the report {path} are not what its total says: {detail}.", _NOTHING_CHANGED, _LOOK,
    ),
    Fault(
        "report-count", "error", "The printed count does not hold",
        "The report {path} does not have the rows that it announces: {detail}.", _NOTHING_CHANGED, _LOOK,
    ),
    Fault(
        "report-old", "error", "An older report comes again",
        "The report {path} is older than the one that was applied last: {detail}.", _NOTHING_CHANGED,
        "See whether the ERP's nightly job or its clock has stopped; a new report is taken by itself.",
    ),
    Fault(
        "report-too-heavy", "error", "Reading the report takes too much",
        "Reading the report {path} was given up: {detail}.", _NOTHING_CHANGED,
        "Open the kept document; if it is in order, narrow the report down, to fewer agents or a shorter time.",
    ),
)  # fmt: skip
