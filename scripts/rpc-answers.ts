/**
 * What `body` has in the outcome of each database function, for `openapi.yaml`: fields that a body may lack are optional.
 * `tests/setup/describe-story.ts` holds what all stories are answered against it.
 */
import { z } from 'zod';
import {
  alternative,
  cancelData,
  confirmData,
  conflict,
  holdData,
  issue,
  releaseData,
  sessionRow,
  shortage,
} from '../supabase/functions/_shared/contract/index.ts';

const id = () => z.string().meta({ format: 'uuid' });
const instant = () => z.iso.datetime({ offset: true });
const count = () => z.int().min(0);
const withoutCountdown = { secondsLeft: true } as const;

const holdWarning = holdData.shape.warnings.unwrap().element;
const warnings = z
  .array(
    z.union([
      holdWarning,
      shortage.omit({ occurrenceIndex: true }).extend({ code: z.literal('AUTHORIZATION_EXCEEDED') }),
    ]),
  )
  .optional()
  .meta({ description: 'Absent when there are none.' });

const heldSlot = holdData.shape.holds.element.omit(withoutCountdown);
/** As the edge function answers, but for the countdown, which it adds. */
const held = holdData.omit(withoutCountdown).extend({ holds: z.array(heldSlot) });
const released = releaseData.extend({
  hold: releaseData.shape.hold.unwrap().unwrap().omit(withoutCountdown).optional(),
});

const touched = {
  touched: count().meta({ description: 'How many sessions to come it touches.' }),
  cancelled: count(),
  touchedSessionIds: z.array(id()).meta({ description: 'The first 100.' }),
  touchedStaffTimes: count(),
  cancelledStaffTimes: count(),
  touchedStaffTimeIds: z.array(id()).meta({ description: 'The first 100.' }),
};
const absence = {
  startsAt: instant(),
  endsAt: instant(),
  ...touched,
  touchedHolds: count().meta({ description: 'How many live holds lie there: they can still be confirmed.' }),
  touchedHoldsUntil: instant().nullable().meta({ description: 'When the last of them expires.' }),
  releasedHolds: count().meta({ description: 'How many of them it let go.' }),
};

const staffTime = z.object({
  id: id(),
  kind: z.enum(['meeting', 'supervision', 'drive', 'documentation', 'training', 'break']),
  startTime: instant(),
  endTime: instant(),
  seriesId: id().nullable(),
});

const member = {
  organizationId: id(),
  userId: id(),
  role: z.enum(['client', 'therapist', 'admin', 'super_admin']),
  permissions: z.array(z.string()),
  createdAt: instant(),
};

const by = z.enum(['session', 'hold']).nullable();
const reasons = z.array(
  z.object({
    what: z.string(),
    by,
    startTime: instant(),
    endTime: instant(),
    expiresAt: instant().nullable(),
  }),
);
const importConflict = z
  .object({
    ...shortage.omit({ occurrenceIndex: true, clientId: true }).partial().shape,
    resource: z.enum(['therapist', 'client', 'room']),
    blockedBy: z.enum(['row', 'session', 'hold', 'availability', 'closure', 'authorization']),
    row: count().optional().meta({ description: 'Of another row: its place in the request, from 0.' }),
    sessionId: id().optional(),
    expiresAt: instant().optional(),
    startTime: instant().optional(),
    endTime: instant().optional(),
  })
  .meta({ description: 'What is in the way; of an authorization, with what is short.' });

const visitTimes = { actualStartTime: instant(), actualEndTime: instant() };
const key = z.object({ keyId: id(), wrappedKey: z.string() });
const attested = z.object({
  therapistId: id(),
  clientId: id(),
  cptCode: z.string().nullable(),
  cptModifiers: z.array(z.string()),
  locationType: z.string().nullable(),
  timeZone: z.string(),
  actualStartTime: instant().nullable(),
  actualEndTime: instant().nullable(),
});
const note = z.object({
  sessionId: id(),
  versionId: id(),
  version: count(),
  status: z.string(),
  savedAt: instant(),
  savedBy: id(),
  signature: z
    .object({ signedBy: id(), signedAt: instant(), credential: z.string().nullable(), attested })
    .nullable(),
});
const sealedClient = z.object({
  clientId: id(),
  versionId: id().nullable(),
  version: count().nullable(),
  savedAt: instant().nullable(),
  ciphertext: z.string().nullable(),
});
const sealedClients = { organizationId: id(), keys: z.array(key), clients: z.array(sealedClient) };

/** What `body` has, by the name of the function. */
export const ANSWERS: Readonly<Record<string, z.ZodType>> = {
  add_closure: z.object({ closureId: id(), ...absence }),
  add_member: z.object(member),
  add_staff_time: z.object({ staffTimes: z.array(staffTime), seriesId: id().nullable() }),
  add_time_off: z.object({ exceptionId: id(), ...absence }),
  amend_note: z.object({ note }),
  archive: z.object({
    ...{ clientId: id().optional(), therapistId: id().optional(), roomId: id().optional() },
    archivedAt: instant(),
    ...touched,
  }),
  cancel_sessions: cancelData,
  cancel_staff_time: z.object({
    cancelledCount: count(),
    alreadyCancelledCount: count(),
    cancelledIds: z.array(id()),
  }),
  change_member: z.object({ ...member, ...touched }),
  change_staff_time: z.object({ staffTimes: z.array(staffTime) }),
  complete_session: z.object({
    session: sessionRow,
    ...visitTimes,
    units: count(),
    version: count(),
    warnings,
  }),
  confirm_sessions: confirmData,
  correct_visit: z.object({
    session: sessionRow,
    version: count(),
    actualStartTime: instant().nullable(),
    actualEndTime: instant().nullable(),
    units: count().nullable(),
    noteStatus: z.string().nullable(),
    warnings,
  }),
  create_calendar_feed: z.object({ feedId: id(), token: z.string(), path: z.string() }),
  end_session: z.object({ session: sessionRow, ...visitTimes }),
  extend_series: z.object({
    seriesId: id(),
    sessions: z.array(sessionRow),
    skipped: z.array(
      z.object({ startTime: instant(), endTime: instant(), blockedBy: z.string(), by, reasons }),
    ),
  }),
  hold_reassignment: held.extend({
    holds: z.array(heldSlot.extend({ clientId: id(), previousTherapistId: id() })),
    skipped: z.array(
      z.object({
        sessionId: id(),
        code: z.string(),
        detail: z.string(),
        retryAfter: instant().nullable(),
        conflicts: z.array(conflict),
      }),
    ),
  }),
  hold_sessions: held,
  import_sessions: z.object({
    dryRun: z.boolean(),
    written: z.boolean(),
    ok: count(),
    unchanged: count(),
    withIssues: count(),
    withConflicts: count(),
    rows: z.array(
      z.object({
        row: count().meta({ description: 'Its place in the request, from 0.' }),
        externalId: z.string().optional(),
        status: z.enum(['ok', 'unchanged', 'issues', 'conflicts']),
        sessionId: id().optional(),
        issues: z.array(issue).optional(),
        conflicts: z.array(importConflict).optional(),
      }),
    ),
  }),
  mark_no_show: z.object({ session: sessionRow }),
  move_group: z.object({ groupId: id(), sessions: z.array(sessionRow) }),
  note_history: z.object({ sessionId: id(), versions: z.array(note) }),
  prepare_client_details: z.object({ organizationId: id(), authorId: id(), key: key.nullable() }),
  prepare_note: z.object({
    organizationId: id(),
    authorId: id(),
    key: key.nullable(),
    session: attested,
    factsDigest: z.string(),
  }),
  read_client_details: z.object(sealedClients),
  read_client_names: z.object({ ...sealedClients, notReadable: z.array(id()) }),
  read_note: z.object({ organizationId: id(), keys: z.array(key), note, ciphertext: z.string() }),
  recode_sessions: z.object({
    cptCode: z.string(),
    recodedCount: count(),
    overridden: z.array(z.enum(['authorization', 'concurrency'])),
    sessions: z.array(sessionRow),
  }),
  release_hold: released,
  remove_member: z.object({ ...member, ...touched }),
  resync_zone: z.object({ zone: z.string(), movedCount: count(), movedSessionIds: z.array(id()) }),
  revoke_calendar_feed: z.object({ feedId: id(), revokedAt: instant() }),
  save_client_details: z.object({ client: sealedClient.omit({ ciphertext: true }) }),
  save_note_draft: z.object({ note }),
  set_availability_hours: z.object({
    therapistId: id(),
    availabilityHours: z
      .record(z.string(), z.array(z.object({ start: z.string(), end: z.string() })))
      .nullable()
      .meta({ description: 'Windows of local time by weekday; null is no limit.' }),
    touched: count().meta({ description: 'How many sessions to come lie outside the hours.' }),
    touchedSessionIds: touched.touchedSessionIds,
    touchedHolds: absence.touchedHolds,
    touchedHoldsUntil: absence.touchedHoldsUntil,
  }),
  set_credential: z.object({ therapistId: id(), credential: z.string(), ...touched }),
  sign_note: z.object({ note }),
  start_data_key: z.object({ key }),
  start_session: z.object({ session: sessionRow, actualStartTime: instant() }),
};

/** What functions answer that have no outcome, by their names. */
export const PLAIN_ANSWERS: Readonly<Record<string, z.ZodType>> = {
  audit_checkpoint: z.object({
    organizationId: id(),
    takenAt: instant(),
    heads: z.array(z.object({ organizationId: id(), chainId: id(), seq: count(), hash: z.string() })),
    archives: z.array(z.looseObject({})),
  }),
  find_alternatives: z.array(alternative),
  find_substitutes: z.array(
    z.object({
      therapistId: id(),
      name: z.string(),
      credential: z.string().nullable(),
      onCaseload: z.boolean(),
      caseload: count().meta({ description: 'How many clients they have.' }),
      bookedMinutes: count(),
    }),
  ),
  offer_freed_slots: z.object({
    offered: z.boolean(),
    pending: count().meta({ description: 'How many freed slots are left to offer.' }),
  }),
  preview_series: z.object({
    occurrences: z.array(
      z.object({
        index: count(),
        startTime: instant(),
        endTime: instant(),
        blockedBy: z.string().nullable(),
        by,
        reasons,
      }),
    ),
  }),
  touched_sessions: z.object({
    total: count(),
    next: z.string().nullable().meta({ description: 'Where the next page begins; null after the last.' }),
    sessions: z.array(
      z.object({
        sessionId: id(),
        startTime: instant(),
        endTime: instant(),
        therapistId: id(),
        clientId: id(),
      }),
    ),
  }),
};
