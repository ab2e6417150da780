/**
 * What the rows of a call cost without any rule: the limit below which no booking function can come. A figure of
 * `instructions.ts` less its rows is what reading the request, deciding and answering cost.
 */
import { type Appointment, clientId, organizationId, therapistId } from './clinic.ts';

/** Writes, as the owner of the tables, what a plain hold, its confirmation and its cancellation write. */
export const ROW_FUNCTIONS: readonly string[] = [
  'create schema rows',
  `create function rows.hold(organization uuid, therapist uuid, client uuid, start_time timestamptz, end_time timestamptz) returns jsonb
    language plpgsql security definer set plan_cache_mode = 'force_generic_plan' as $$
    declare
      id constant uuid := gen_random_uuid();
      batch constant uuid := gen_random_uuid();
      until constant timestamptz := clock_timestamp() + interval '5 minutes';
    begin
      perform private.enter_booking();
      insert into public.hold_batches (organization_id, id, therapist_id, time_zone, expires_at, created_by, created_at)
      values (organization, batch, therapist, 'UTC', until, therapist, clock_timestamp());
      insert into public.session_holds (
        organization_id, id, batch_id, occurrence_index, hold_key, client_id, start_time, end_time, time_zone, civil_start, lanes
      ) values (
        organization, id, batch, 0, gen_random_uuid(), client, start_time, end_time, 'UTC', start_time at time zone 'UTC',
        '{[0,2147483647)}'
      );
      insert into private.claims values
        (organization, id, 'therapist', therapist, tstzrange(start_time, end_time), '{[0,2147483647)}', until),
        (organization, id, 'client', client, tstzrange(start_time, end_time), '{[0,2147483647)}', until)
      on conflict do nothing;
      perform private.record_event(organization, 'hold.acquired', 'hold', array[id], clock_timestamp(), therapist_id => therapist,
        actor_role => 'admin', after => jsonb_build_object('therapistId', therapist, 'clientId', client));
      return jsonb_build_object('ok', true, 'id', id);
    end $$`,
  `create function rows.confirm(organization uuid, hold uuid) returns jsonb
    language plpgsql security definer set plan_cache_mode = 'force_generic_plan' as $$
    declare
      held public.session_holds;
      therapist uuid;
    begin
      perform private.enter_booking();
      update public.session_holds as known set status = 'confirmed', settled_at = clock_timestamp(), settled_xid = pg_current_xact_id()
      where known.organization_id = organization and known.id = hold returning known.* into held;
      select batch.therapist_id into therapist from public.hold_batches as batch
      where batch.organization_id = organization and batch.id = held.batch_id;
      insert into public.sessions (
        organization_id, id, therapist_id, client_id, start_time, end_time, time_zone, civil_start, cpt_modifiers, lanes, created_by
      ) values (
        organization, hold, therapist, held.client_id, held.start_time, held.end_time, 'UTC', held.civil_start, '{}', held.lanes, therapist
      );
      update private.claims as claim set expires_at = null where claim.organization_id = organization and claim.owner_id = hold;
      perform private.record_event(organization, 'hold.confirmed', 'session', array[hold], clock_timestamp(),
        therapist_id => therapist, actor_role => 'admin', after => jsonb_build_object('id', hold));
      return jsonb_build_object('ok', true, 'id', hold);
    end $$`,
  `create function rows.cancel(organization uuid, session uuid) returns jsonb
    language plpgsql security definer set plan_cache_mode = 'force_generic_plan' as $$
    declare
      therapist uuid;
    begin
      perform private.enter_booking();
      update public.sessions as known set status = 'cancelled', updated_at = clock_timestamp()
      where known.organization_id = organization and known.id = session returning known.therapist_id into therapist;
      delete from private.claims as claim where claim.organization_id = organization and claim.owner_id = session;
      insert into public.session_cancellations (organization_id, session_id, cancelled_by, cancelled_by_role)
      values (organization, session, therapist, 'admin');
      perform private.record_event(organization, 'session.cancelled', 'session', array[session], clock_timestamp(),
        therapist_id => therapist, actor_role => 'admin', before => jsonb_build_object('id', session));
      return jsonb_build_object('ok', true, 'id', session);
    end $$`,
];

const call = (name: string, ...parameters: string[]): string =>
  `select rows.${name}(${parameters.map((value) => `'${value}'`).join(', ')}) as outcome`;

/** Statements that write the rows of a hold, and of what follows from it. */
export const rowsOf = {
  hold: ({ therapist, client, start, end }: Appointment): string =>
    call(
      'hold',
      organizationId(0),
      therapistId(0, therapist),
      clientId(0, therapist, client),
      new Date(start).toISOString(),
      new Date(end).toISOString(),
    ),
  confirm: (id: string): string => call('confirm', organizationId(0), id),
  cancel: (id: string): string => call('cancel', organizationId(0), id),
};
