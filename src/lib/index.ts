/**
 * The client library: books sessions and series through the edge functions, reads schedules, and knows the rules an app
 * needs before it asks: recurrence, billing, route guards.
 *
 * It runs in browsers, Node and Deno. Functions take `(supabase, payload)`; there are no globals.
 *
 * @module
 */

export {
  civilDayBounds,
  isKnownTimeZone,
  offsetMinutesAt,
} from '../../supabase/functions/_shared/civil-time.ts';
export type { ErrorCode } from '../../supabase/functions/_shared/contract/codes.ts';
export type {
  Alternative,
  Conflict,
  Issue,
  OverridableRule,
  OverrideRule,
  SeriesScope,
  Shortage,
} from '../../supabase/functions/_shared/contract/types.ts';
export {
  type BillableSession,
  type CptMetadata,
  coverageGap,
  dailyUnitWarnings,
  deriveCptMetadata,
  type PayerCodeRule,
  type PayerRules,
  type ProviderLevel,
  providerLevel,
  type ServiceCode,
  type ServiceCodeLookUp,
  serviceCode,
} from '../../supabase/functions/_shared/cpt.ts';
export type { Occurrence } from '../../supabase/functions/_shared/recurrence.ts';
export { SERVICE_CODES } from '../../supabase/functions/_shared/service-codes.ts';
export {
  billableUnits,
  dayUnits,
  poolUnits,
  type RenderedService,
  type TimedService,
  UNIT_MINUTES,
  type UnitRounding,
} from '../../supabase/functions/_shared/units.ts';
export {
  type AvailabilityException,
  addAvailabilityException,
  addTimeOff,
  fetchAvailabilityExceptions,
  hoursInWords,
  removeAvailabilityException,
  setWeeklyHours,
  type TimeOff,
  type TimeOffRequest,
  type TouchedByHours,
  WEEKDAYS,
  type Weekday,
  type WeeklyHours,
} from './availability.ts';
export {
  fetchAuthorizationPace,
  fetchBillableVisits,
  fetchScheduleProblems,
  fetchSessionsToRecode,
  fetchSupervisionNeeded,
  fetchUnbilled,
  fetchVisitProblems,
  type MonthsQuery,
} from './billingReports.ts';
export {
  type BookingClient,
  type BookSessionRequest,
  type BookSessionResult,
  bookSession,
} from './bookSession.ts';
export {
  type AgendaEntry,
  agendaDays,
  appointmentsOf,
  appointmentTitle,
  type Block,
  calendarHours,
  closedBlocks,
  hoursBlocks,
  type Naming,
  sessionBlocks,
  staffTimeBlocks,
} from './calendarBlocks.ts';
export {
  type CalendarFeed,
  type CalendarFeedRow,
  createCalendarFeed,
  fetchCalendarFeeds,
  revokeCalendarFeed,
} from './calendarFeeds.ts';
export type { CallOptions, RetryNotice, RetryOptions } from './callEdge.ts';
export { type ClinicTimes, clinicTimes, minutesAndSeconds, shiftCivil } from './clinicTimes.ts';
export { addClosure, type Closure, type ClosureRequest, fetchClosures, removeClosure } from './closures.ts';
export { type ClockReading, type Countdown, clockReading, countdown } from './countdown.ts';
export type { Database, Json } from './database.types.ts';
export {
  addTherapist,
  type Client,
  type ClientDetails,
  type ClientName,
  fetchClientDetails,
  fetchClients,
  fetchMemberships,
  fetchNames,
  fetchOwnTherapists,
  fetchRooms,
  fetchTherapists,
  type Membership,
  type NamesQuery,
  type NewTherapist,
  type OwnTherapist,
  type Room,
  type Therapist,
} from './directory.ts';
export {
  generateOccurrences,
  type OccurrenceOptions,
  type RecurrenceInput,
} from './generateOccurrences.ts';
export { type HeldBooking, type HoldBookingRequest, holdBooking } from './holdBooking.ts';
export {
  type ImportConflict,
  type ImportedRow,
  type ImportField,
  type ImportResult,
  type ImportRow,
  type ImportStatus,
  importSessions,
  parseSessionsCsv,
  type SessionsCsvOptions,
} from './importSessions.ts';
export {
  type Archivable,
  archive,
  type Credential,
  fetchTouchedSessions,
  type LeavingOptions,
  setCredential,
  type Touched,
  type TouchedHolds,
  type TouchedSession,
} from './leaving.ts';

export {
  type CompleteRequest,
  type CompleteResponse,
  type CorrectionReason,
  type CorrectionRequest,
  type CorrectionResponse,
  completeSession,
  correctVisit,
  type EndRequest,
  type EndResponse,
  type ExceededWarning,
  endSession,
  markNoShow,
  type SessionChange,
  type StartRequest,
  type StartResponse,
  startSession,
  type VisitWarning,
} from './lifecycle.ts';
export { fetchLiveHolds, type LiveHold } from './liveHolds.ts';
export {
  civilOf,
  type DaySpan,
  dayBounds,
  instantOf,
  type LocalInstant,
  plusDays,
  weekBounds,
} from './localTime.ts';
export {
  addMember,
  changeMember,
  fetchMembers,
  type Member,
  type MemberChange,
  removeMember,
} from './members.ts';
export {
  type AlternativeRange,
  englishMessages,
  explainBlocked,
  explainRefusal,
  issueSentence,
  type MessageCode,
  type Messages,
  messageOf,
  overridableRule,
  type RefusalContext,
  type RefusalExplanation,
  rangesOf,
  staffTimeWords,
  statusWords,
} from './messages.ts';
export { type MoveRequest, moveSession } from './moveSession.ts';
export {
  amendNote,
  type Note,
  type NoteContent,
  type NoteDraft,
  type NoteQuery,
  type NoteVersion,
  readNote,
  saveNoteDraft,
  signNote,
} from './notes.ts';
export { findOpenSlots, type OpenSlot, type OpenSlotsQuery } from './openSlots.ts';
export { fetchPayerRules, type PayerRulesQuery } from './payerRules.ts';
export {
  type BlockedBy,
  type BlockingReason,
  type PreviewedOccurrence,
  type PreviewRequest,
  previewSeries,
} from './previewSeries.ts';
export {
  confirmReassignment,
  type HeldReassignment,
  holdReassignment,
  type ReassignmentHold,
  type ReassignmentRequest,
  reassignSessions,
} from './reassign.ts';
export { type RecodeRequest, type RecodeResponse, recodeSessions } from './recodeSessions.ts';
export {
  type ReportSummary,
  type SummarizedReport,
  type SummaryRow,
  summarizeReport,
} from './reportSummaries.ts';
export { fetchReport, type ReportQuery, type ReportRow, toCsv } from './reports.ts';
export {
  canOpen,
  findGuardForPath,
  hasRoleAccess,
  listGuardedPaths,
  type Role,
  type RouteGuard,
  requiresPermission,
  routeGuards,
} from './routeGuards.ts';
export {
  createScheduleFeed,
  type FeedStatus,
  type ScheduleChanges,
  type ScheduleFeed,
  type ScheduleFeedOptions,
} from './scheduleFeed.ts';
export {
  type ClientSessionsQuery,
  fetchAllPages,
  fetchClientSessions,
  fetchSchedule,
  readScope,
  type SchedulePage,
  type ScheduleQuery,
  type ScheduleRange,
  type Scope,
  type SessionRow,
  type SessionStatus,
} from './scheduleQueries.ts';
export {
  changeSeries,
  confirmSeriesChange,
  type ExtendSeriesRequest,
  type ExtendSeriesResponse,
  extendSeries,
  fetchSeries,
  type HeldSeriesChange,
  holdSeriesChange,
  type PreviewedChange,
  previewSeriesChange,
  type Series,
  type SeriesChange,
  type SeriesChangeRequest,
} from './series.ts';
export { fetchServiceCodes } from './serviceCodes.ts';
export { servicesFor, sessionTypeOf } from './services.ts';
export { assertSessionCompleteness, type DraftSession, type ServiceContext } from './sessionCompleteness.ts';
export {
  type BookingDetails,
  type CancelRequest,
  type CancelResponse,
  type ConfirmOccurrenceRequest,
  type ConfirmRequest,
  type ConfirmResponse,
  type CptInput,
  cancelSessionHold,
  cancelSessions,
  confirmSessionBooking,
  type HoldOccurrenceRequest,
  type HoldRequest,
  type HoldResponse,
  type RecurrenceRequest,
  type ReleaseRequest,
  type ReleaseResponse,
  requestSessionHold,
  type SessionInput,
} from './sessionHolds.ts';
export {
  type BlockedSession,
  type LibraryErrorCode,
  SessionsApiError,
  type SessionsApiErrorDetails,
  type VisitOverlap,
} from './sessionsApiError.ts';
export type { SkippedOccurrence } from './skipBlocked.ts';
export {
  addStaffTime,
  cancelStaffTime,
  changeStaffTime,
  fetchStaffTimes,
  type StaffTime,
  type StaffTimeChange,
  type StaffTimeKind,
  type StaffTimeRequest,
  type StaffTimeRow,
  type StaffTimeTarget,
} from './staffTime.ts';
export { findSubstitutes, type Substitute, type SubstitutesQuery } from './substitutes.ts';
export type {
  FunctionsCaller,
  RealtimeFollower,
  RpcCaller,
  SchemaReader,
  TableReader,
} from './supabaseClient.ts';
export { fetchVisitVersions, type VisitVersion } from './visitVersions.ts';
export {
  bookOffer,
  fetchWaitlist,
  joinWaitlist,
  leaveWaitlist,
  type WaitingEntry,
  type WaitlistClient,
  type WaitlistEntry,
  type WaitlistRequest,
  waitedFor,
} from './waitlist.ts';
export {
  fetchMovedByZoneRules,
  type ResyncConflict,
  type ResyncRequest,
  type ResyncResponse,
  resyncZone,
} from './zoneRules.ts';
