-- The queue engine's tables, in a schema of their own. Its version is pinned in pyproject.toml: raise it only together
-- with a migration that does what the engine's own migrations do.

CREATE SCHEMA keepstep_queue;
SET LOCAL search_path = keepstep_queue;

--: procrastinate 3.10.0

-- Its functions find their tables whatever the search_path of the session is: ours, a pooler's, pg_cron's.
DO $$
DECLARE
    f regprocedure;
BEGIN
    FOR f IN SELECT p.oid FROM pg_proc p WHERE p.pronamespace = 'keepstep_queue'::regnamespace LOOP
        EXECUTE format('ALTER FUNCTION %s SET search_path = keepstep_queue', f);
    END LOOP;
END
$$;

-- A queue row is one attempt and is deleted at its end: a history of it is never read. Two notifications a row would
-- halve the rate of dispatch: whoever queues rows sends one for all of them.
ALTER TABLE procrastinate_jobs DISABLE TRIGGER procrastinate_trigger_status_events_insert_v1;
ALTER TABLE procrastinate_jobs DISABLE TRIGGER procrastinate_trigger_status_events_update_v1;
ALTER TABLE procrastinate_jobs DISABLE TRIGGER procrastinate_jobs_notify_queue_job_inserted_v1;

-- Fetching looks for older jobs of the same lock: without this index it reads past every blocked job for each candidate.
CREATE INDEX procrastinate_jobs_open_lock ON procrastinate_jobs (lock, id) WHERE status IN ('todo', 'doing');

-- These are read by nothing here: the one above replaces the first, and queues are few.
DROP INDEX procrastinate_jobs_id_lock_idx_v1;
DROP INDEX procrastinate_jobs_queue_name_idx_v1;
