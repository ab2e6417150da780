/**
 * React hooks over the client library, for an app of your own: who is signed in, the reads that screens share, bookings
 * and notes with everything that happens between two presses. They draw nothing.
 *
 * React 19 and TanStack Query 5 are the app's own, as supabase-js is.
 *
 * @module
 */
export { type Absence, useAbsence } from './absence.ts';
export {
  type Action,
  noteError,
  useAction,
  useConnection,
  useMedia,
  useOnline,
  useSeconds,
  useSettled,
} from './actions.ts';
export { type Booking, type Made, type Running, useBooking, useRunning } from './booking.ts';
export {
  type Booked,
  type BookingFields,
  type BookingForm,
  type BookingListener,
  type BookingPlace,
  type BookingStart,
  type Draft,
  type PreviewedDate,
  type SeriesPreview,
  type TimeFields,
  useBookingForm,
  useClientSearch,
  useDrafts,
} from './bookingForm.ts';
export {
  type Calendar,
  type CalendarQuery,
  type MoveListener,
  useCalendar,
  useCancel,
  useMove,
  useSingleKeys,
} from './calendar.ts';
export {
  type ButtonState,
  saveFile,
  useButton,
  useForm,
  useKept,
  useLayer,
  usePrint,
  useProblem,
  useTheme,
  useToolbar,
  withChanges,
} from './elements.ts';
export { type CalendarFeeds, useCalendarFeeds } from './feeds.ts';
export { useKeptFocus } from './focus.ts';
export { type ExceptionsOf, type HoursForm, useExceptionsOf, useHours } from './hours.ts';
export { type NoteFields, type NoteState, useNote } from './note.ts';
export {
  balanceInWords,
  CLIENT_DAYS,
  type Members,
  type Newcomer,
  useClientDetails,
  useClientPage,
  useMembers,
  useOutlook,
  useWelcome,
  useWorkload,
} from './people.ts';
export {
  type Balance,
  type Read,
  type Schedule,
  type Span,
  useClients,
  useClosures,
  useExceptions,
  useHolds,
  useOwnHolds,
  useRead,
  useReport,
  useRooms,
  useSchedule,
  useTherapists,
} from './reads.ts';
export { type RefusalState, useRefusal } from './refusal.ts';
export { type MonthlyReport, useMonthlyReport } from './reports.ts';
export {
  type Me,
  type Session,
  type SessionsClient,
  SessionsProvider,
  type SessionsProviderProps,
  type SignInState,
  useMe,
  useSession,
  useSupabase,
} from './session.ts';
export {
  type StaffTimeFields,
  type StaffTimeForm,
  type StaffTimeListener,
  type StaffTimeStart,
  useStaffTimeForm,
  useStaffTimes,
} from './staffTime.ts';
export { type CorrectionFields, EARLY_HOURS, useCorrections, useVisit, type Visit } from './visit.ts';
export { useWaitlist, type Waiting } from './waitlist.ts';
export type { Slot } from './weekCalendar.ts';
