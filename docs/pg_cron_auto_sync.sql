-- Lets an application call Keepstep's auto-sync functions in its own schema, as on Supabase. Run docs/pg_cron.sql first;
-- it lets the database dispatch by itself. Running this again changes nothing. To undo it:
--   DROP FUNCTION public.schedule_auto_sync, public.unschedule_auto_sync, public.update_auto_sync_schedule, public.trigger_auto_sync;
--   DROP VIEW public.auto_sync_history;
--
-- The functions act for any user, so that nobody may call them but who is granted: the server of the application (on
-- Supabase the role service_role). They run with the rights of their owner, who must be Keepstep's role or a superuser.

CREATE OR REPLACE FUNCTION public.schedule_auto_sync(user_id text, minutes integer, integration text DEFAULT 'mail') RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = '' AS 'SELECT keepstep.schedule_auto_sync($1, $2, $3)';

CREATE OR REPLACE FUNCTION public.unschedule_auto_sync(user_id text, integration text DEFAULT 'mail') RETURNS boolean
LANGUAGE sql SECURITY DEFINER SET search_path = '' AS 'SELECT keepstep.unschedule_auto_sync($1, $2)';

CREATE OR REPLACE FUNCTION public.update_auto_sync_schedule(user_id text, minutes integer, integration text DEFAULT 'mail') RETURNS boolean
LANGUAGE sql SECURITY DEFINER SET search_path = '' AS 'SELECT keepstep.update_auto_sync_schedule($1, $2, $3)';

CREATE OR REPLACE FUNCTION public.trigger_auto_sync(user_id text, integration text DEFAULT 'mail') RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = '' AS 'SELECT keepstep.trigger_auto_sync($1, $2)';

-- A user sees their own runs: those of the id that their session or their token names.
CREATE OR REPLACE VIEW public.auto_sync_history WITH (security_barrier) AS
SELECT h.* FROM keepstep.auto_sync_history h
WHERE h.user_id = coalesce(
    nullif(current_setting('keepstep.owner', true), ''),
    nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub');

REVOKE ALL ON FUNCTION public.schedule_auto_sync, public.unschedule_auto_sync, public.update_auto_sync_schedule,
    public.trigger_auto_sync FROM PUBLIC;
REVOKE ALL ON public.auto_sync_history FROM PUBLIC;
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['anon', 'authenticated'] LOOP  -- Supabase grants them whatever is made in public
        IF EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
            EXECUTE format('REVOKE ALL ON FUNCTION public.schedule_auto_sync, public.unschedule_auto_sync, '
                           'public.update_auto_sync_schedule, public.trigger_auto_sync FROM %I', name);
            EXECUTE format('REVOKE ALL ON public.auto_sync_history FROM %I', name);
        END IF;
    END LOOP;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'service_role') THEN
        GRANT EXECUTE ON FUNCTION public.schedule_auto_sync, public.unschedule_auto_sync, public.update_auto_sync_schedule,
            public.trigger_auto_sync TO service_role;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'authenticated') THEN
        GRANT SELECT ON public.auto_sync_history TO authenticated;
    END IF;
END
$$;
