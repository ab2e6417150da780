-- Purpose: what the platform offers beyond Postgres, used where it is present and needed nowhere.
-- Objects: a Realtime publication of sessions; pg_cron schedules.
-- Watch for: correctness never waits for any of it. Where pg_cron is turned on later, run the two schedules by hand
--            (docs/deploying.md).

do $$
begin
  -- Sessions carry no PHI; row security decides who receives which change.
  if exists (select 1 from pg_catalog.pg_publication where pubname = 'supabase_realtime')
    and not exists (
      select 1
      from pg_catalog.pg_publication_tables
      where pubname = 'supabase_realtime' and schemaname = 'public' and tablename = 'sessions'
    )
  then
    alter publication supabase_realtime add table public.sessions;
  end if;

  if exists (select 1 from pg_catalog.pg_extension where extname = 'pg_cron') then
    perform cron.schedule('sweep-expired-holds', '* * * * *', 'select private.sweep_expired_holds()');
    perform cron.schedule('offer-freed-slots', '* * * * *', 'select private.offer_all_freed_slots()');
    perform cron.schedule('sweep', '15 * * * *', 'select private.sweep()');
  end if;
end
$$;
