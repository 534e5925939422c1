-- Lets the database dispatch due schedules by itself. Needs pg_cron in shared_preload_libraries. Run it once, as the
-- owner of Keepstep's tables, in the database that cron.database_name names; where Keepstep is in another one, use
-- cron.schedule_in_database with its name. Running it again changes nothing. To undo it:
--   SELECT cron.unschedule('keepstep'), cron.unschedule('keepstep-history');
CREATE EXTENSION IF NOT EXISTS pg_cron;

-- Before 1.5 pg_cron knows no seconds.
SELECT cron.schedule(
    'keepstep',
    CASE WHEN string_to_array(substring(extversion FROM '^[0-9.]+'), '.')::integer[] >= '{1,5}' THEN '10 seconds' ELSE '* * * * *' END,
    'CALL keepstep.dispatch()')
FROM pg_extension WHERE extname = 'pg_cron';

-- Its own record of every call would grow for ever.
SELECT cron.schedule(
    'keepstep-history', '17 3 * * *',
    $$DELETE FROM cron.job_run_details WHERE end_time < now() - interval '7 days'$$);
