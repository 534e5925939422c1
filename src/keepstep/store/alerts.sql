-- name: facts
-- Every connection as the rules look at it, from the newest rows of each kind; of those with credentials of their owner,
-- who may be a hundred thousand, and of those of agents, the ones that something is wrong with. That the account which
-- agents share is refused is told once.
WITH watched AS (
    SELECT * FROM keepstep.connections WHERE NOT own_credentials AND (owner_id IS NULL OR integration <> 'erp')
    UNION
    SELECT * FROM keepstep.connections WHERE refused_at IS NOT NULL
    UNION
    SELECT c.* FROM keepstep.connections c JOIN keepstep.owner_standing o ON o.connection_id = c.id
    WHERE o.failures >= 3 AND (c.own_credentials OR o.error ->> 'kind' IS DISTINCT FROM 'auth-failed')
    UNION
    SELECT c.* FROM keepstep.connections c WHERE c.id IN (SELECT h.connection_id FROM keepstep.held_deletions h WHERE h.state = 'open')
)
SELECT c.id AS connection_id, c.integration, c.owner_id, c.created_at,
       EXISTS (SELECT FROM keepstep.schedules s WHERE s.connection_id = c.id AND s.enabled AND (
           s.sync_type IS NULL OR EXISTS (SELECT FROM keepstep.schedule_times t WHERE t.schedule_id = s.id))) AS scheduled,
       last.state AS last_state, last.error ->> 'code' AS last_code, last.error ->> 'message' AS last_message,
       last.error ->> 'fix' AS last_fix, last.finished_at AS last_finished_at, good.finished_at AS last_success,
       nightly.state AS nightly_state, nightly.created_at AS nightly_at, nightly.error ->> 'message' AS nightly_message,
       missed.full_at AS nightly_missed_at, held.entities AS held, held.rows AS held_rows, held.since AS held_since,
       letters.open AS open_letters, letters.since AS letters_since, l.state -> 'breaker' AS breaker,
       c.own_credentials OR (c.integration = 'erp' AND c.owner_id IS NOT NULL) AS own_credentials, c.refused_at, c.refused_reason, o.failures, o.last_failure_at
FROM watched c
LEFT JOIN keepstep.owner_standing o ON o.connection_id = c.id
LEFT JOIN keepstep.limits l ON l.connection_id = c.id
LEFT JOIN LATERAL (
    SELECT state, error, finished_at FROM keepstep.runs
    WHERE connection_id = c.id AND finished_at IS NOT NULL AND state <> 'stopped' ORDER BY id DESC LIMIT 1
) last ON true
LEFT JOIN LATERAL (
    SELECT finished_at FROM keepstep.runs
    WHERE connection_id = c.id AND state IN ('succeeded', 'held') AND NOT dry_run ORDER BY id DESC LIMIT 1
) good ON true
LEFT JOIN LATERAL (
    SELECT r.state, r.created_at, r.error FROM keepstep.runs r JOIN keepstep.schedules s ON s.id = r.schedule_id
    WHERE s.connection_id = c.id AND s.enabled AND r.trigger = 'nightly' AND r.finished_at IS NOT NULL
      AND NOT EXISTS (SELECT FROM keepstep.runs b WHERE b.connection_id = c.id AND b.id > r.id AND b.mode = 'backfill'
                      AND b.state IN ('succeeded', 'held') AND NOT b.dry_run)
    ORDER BY r.created_at DESC LIMIT 1
) nightly ON true
LEFT JOIN LATERAL (
    SELECT min(t.full_at) AS full_at FROM keepstep.schedules s JOIN keepstep.schedule_times t ON t.schedule_id = s.id
    WHERE s.connection_id = c.id AND t.full_at < now() - make_interval(secs => %(patience)s::float8)
) missed ON true
LEFT JOIN LATERAL (
    SELECT array_agg(h.entity ORDER BY h.entity) AS entities, sum(h.delete_rows)::bigint AS rows, min(h.created_at) AS since
    FROM keepstep.held_deletions h WHERE h.connection_id = c.id AND h.state = 'open'
) held ON true
LEFT JOIN LATERAL (
    SELECT count(*) AS open, min(d.created_at) AS since
    FROM keepstep.dead_letters d WHERE d.connection_id = c.id AND d.state = 'open'
) letters ON true

-- name: pings
-- The last three answers to a ping of each connection, newest first.
SELECT c.id AS connection_id, p.states, p.reason, p.since
FROM keepstep.connections c CROSS JOIN LATERAL (
    SELECT array_agg(q.state ORDER BY q.id DESC) AS states, (array_agg(q.reason ORDER BY q.id DESC))[1] AS reason,
           min(q.at) AS since
    FROM (SELECT id, at, state, reason FROM keepstep.pings WHERE connection_id = c.id ORDER BY id DESC LIMIT 3) q
) p WHERE p.states IS NOT NULL AND NOT c.own_credentials

-- name: service
-- The dead-man's switch: when somebody last looked for due schedules, if there are any to look for.
SELECT now() AS now, (SELECT at FROM keepstep.ticks WHERE name = 'dispatcher') AS tick,
       EXISTS (SELECT FROM keepstep.schedule_times) AS scheduled

-- name: open
SELECT id, connection_id, rule FROM keepstep.alerts WHERE ended_at IS NULL

-- name: begin
INSERT INTO keepstep.alerts (connection_id, rule, severity, title, detail, impact, fix, since)
VALUES (%(connection)s, %(rule)s, %(severity)s, %(title)s, %(detail)s, %(impact)s, %(fix)s, %(since)s)
ON CONFLICT (coalesce(connection_id, 0), rule) WHERE ended_at IS NULL
DO UPDATE SET severity = excluded.severity, title = excluded.title, detail = excluded.detail, fix = excluded.fix
WHERE (alerts.severity, alerts.title, alerts.detail, alerts.fix)
      IS DISTINCT FROM (excluded.severity, excluded.title, excluded.detail, excluded.fix)

-- name: end
UPDATE keepstep.alerts SET ended_at = now() WHERE id = ANY (%(ids)s::bigint[]) AND ended_at IS NULL

-- name: untold
-- Alerts that begin, end or go on and of which no message says so yet; locked, so that each is told once. A rule that was
-- told of lately waits: what comes meanwhile is told together.
SELECT a.*, c.integration, c.owner_id,
       CASE WHEN a.ended_at IS NOT NULL THEN 'end' WHEN a.announced_at IS NULL THEN 'start' ELSE 'reminder' END AS kind
FROM keepstep.alerts a LEFT JOIN keepstep.connections c ON c.id = a.connection_id
WHERE ((a.announced_at IS NULL AND a.ended_at IS NULL)
       OR (a.ended_at IS NOT NULL AND a.announced_at IS NOT NULL AND NOT a.end_announced)
       OR (a.ended_at IS NULL AND coalesce(a.reminded_at, a.announced_at) < now() - make_interval(secs => %(remind)s::float8)))
  AND (NOT %(quiet)s OR a.severity = 'critical')
  AND NOT EXISTS (
      SELECT FROM keepstep.alert_messages m
      WHERE m.rule = a.rule AND m.created_at > now() - make_interval(secs => %(together)s::float8)
        AND m.kind = CASE WHEN a.ended_at IS NOT NULL THEN 'end' WHEN a.announced_at IS NULL THEN 'start' ELSE 'reminder' END)
ORDER BY a.rule, a.id FOR UPDATE OF a SKIP LOCKED

-- name: told
UPDATE keepstep.alerts SET
    announced_at = coalesce(announced_at, now()),
    reminded_at = CASE WHEN %(kind)s = 'reminder' THEN now() ELSE reminded_at END,
    end_announced = end_announced OR %(kind)s = 'end'
WHERE id = ANY (%(ids)s::bigint[])

-- name: put_message
INSERT INTO keepstep.alert_messages (channel, kind, rule, alert_ids, content)
VALUES (%(channel)s, %(kind)s, %(rule)s, %(ids)s::bigint[], %(content)s)

-- name: claim
-- The oldest message of a channel that waits: the next one only after it, so that an end is never told before its start.
-- What was claimed by a process that died is claimed again later.
UPDATE keepstep.alert_messages SET attempts = attempts + 1, next_at = now() + interval '2 minutes'
WHERE id = (
    SELECT m.id FROM keepstep.alert_messages m
    WHERE m.channel = %(channel)s AND m.state = 'waiting' ORDER BY m.id LIMIT 1 FOR UPDATE SKIP LOCKED
) AND next_at <= now()
RETURNING id, kind, content, attempts

-- name: sent
UPDATE keepstep.alert_messages SET state = 'sent', sent_at = now(), status = %(status)s, answer = %(answer)s WHERE id = %(id)s

-- name: later
UPDATE keepstep.alert_messages SET state = %(state)s, next_at = now() + make_interval(secs => %(after)s::float8),
       status = %(status)s, answer = %(answer)s
WHERE id = %(id)s

-- name: record_test
INSERT INTO keepstep.alert_messages (channel, kind, content, state, attempts, sent_at, status, answer)
VALUES (%(channel)s, 'test', %(content)s, CASE WHEN %(delivered)s THEN 'sent' ELSE 'failed' END, 1,
        CASE WHEN %(delivered)s THEN now() END, %(status)s, %(answer)s)

-- name: newest
-- Open ones first, then the newest that have ended; each with what became of its messages.
SELECT a.*, c.integration, c.owner_id,
       coalesce((SELECT jsonb_agg(jsonb_build_object('channel', m.channel, 'kind', m.kind, 'state', m.state, 'attempts', m.attempts,
                                                     'answer', m.answer, 'sentAt', m.sent_at) ORDER BY m.id)
                 FROM keepstep.alert_messages m WHERE a.id = ANY (m.alert_ids)), '[]') AS deliveries
FROM keepstep.alerts a LEFT JOIN keepstep.connections c ON c.id = a.connection_id
WHERE (%(state)s::text IS NULL OR (%(state)s = 'open') = (a.ended_at IS NULL))
  AND (a.connection_id IS NULL OR %(only)s::bigint[] IS NULL OR a.connection_id = ANY (%(only)s::bigint[]))
ORDER BY (a.ended_at IS NULL) DESC, a.id DESC LIMIT %(limit)s

-- name: delivery
-- How the channels do: the last answer, and what waits.
SELECT m.channel, count(*) FILTER (WHERE m.state = 'waiting') AS waiting, max(m.sent_at) AS last_sent_at,
       (array_agg(m.answer ORDER BY m.id DESC) FILTER (WHERE m.attempts > 0 AND m.state <> 'sent'))[1] AS last_failure
FROM keepstep.alert_messages m WHERE m.created_at > now() - interval '30 days' GROUP BY m.channel

-- name: counts
SELECT rule, severity, count(*) AS open FROM keepstep.alerts
WHERE ended_at IS NULL
  AND (connection_id IS NULL OR %(only)s::bigint[] IS NULL OR connection_id = ANY (%(only)s::bigint[]))
GROUP BY rule, severity
