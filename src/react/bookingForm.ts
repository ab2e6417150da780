/** A booking form: from what is chosen to the request, and what is known about it while somebody chooses. */
import { useEffect, useRef, useState } from 'react';
import {
  type BookSessionRequest,
  cancelSessions,
  changeSeries,
  dayBounds,
  deriveCptMetadata,
  explainBlocked,
  fetchPayerRules,
  findOpenSlots,
  issueSentence,
  joinWaitlist,
  messageOf,
  moveSession,
  type OpenSlot,
  type PreviewedOccurrence,
  previewSeries,
  previewSeriesChange,
  type RecurrenceInput,
  type SeriesChange,
  type SeriesChangeRequest,
  type SeriesScope,
  type ServiceCode,
  type SessionRow,
  type SessionsApiError,
  servicesFor,
  sessionTypeOf,
} from '../lib/index.ts';
import { type Action, useAction, useSettled } from './actions.ts';
import { type Booking, type Made, useBooking } from './booking.ts';
import { placeOf } from './calendar.ts';
import { type Balance, useClients, useRead, useReport, useTherapists } from './reads.ts';
import { useMe, useSupabase } from './session.ts';
import type { Slot } from './weekCalendar.ts';

/** When something is and how often: local dates and times of the clinic, as inputs have them. */
export interface TimeFields {
  /** `YYYY-MM-DD`. */
  readonly date: string;
  /** `HH:mm`. */
  readonly from: string;
  readonly to: string;
  /** An RFC 5545 rule without its end; empty: it does not repeat. */
  readonly repeat: string;
  readonly end: 'count' | 'until';
  /** How many times, or until which day. */
  readonly count: string;
  readonly until: string;
}

/** What is chosen of a booking. */
export interface BookingFields extends TimeFields {
  readonly clientId: string;
  /** Further clients: with them it is a group. */
  readonly others: readonly string[];
  readonly therapistId: string;
  /** A service code; empty: what the therapist renders most often. */
  readonly service: string;
  readonly place: string;
  readonly roomId: string;
  /** Leave out the dates of a series that are not free. */
  readonly skip: boolean;
  /** Of a series that is moved: this session, it and those that follow, or all that are to come. */
  readonly scope: SeriesScope;
}

/** A date of a series, and what is in its way. */
export type PreviewedDate = Pick<PreviewedOccurrence, 'index' | 'startTime' | 'endTime' | 'blockedBy' | 'by'>;

/** What a form begins with, besides where in the calendar. */
export interface BookingStart {
  readonly clientId?: string;
  /** The session to move, instead of booking a new one. */
  readonly session?: SessionRow;
  /** What a move by drag was refused for. */
  readonly refused?: SessionsApiError;
  /** Another value means that the draft was dragged: day, times and therapist are taken anew, all else stays. */
  readonly dragged?: number;
}

/** Where a form's session would be: local times of the clinic, `YYYY-MM-DDTHH:mm:ss`. */
export interface BookingPlace {
  readonly start: string;
  readonly end: string;
  readonly therapistId: string;
}

/** The dates of a series as somebody looks at them. */
export interface SeriesPreview {
  readonly shown: readonly (PreviewedDate & { readonly words: string })[];
  readonly total: number;
  readonly free: number;
}

/** A series this long is shown whole. */
const SHOWN_WHOLE = 12;
/** Of a longer one so many are shown although they are free. */
const SHOWN_FREE = 3;

/** A booking or a move that somebody begins in a calendar. */
export interface Draft extends BookingPlace, BookingStart {
  /** Which opening of the form it belongs to: a new one begins with a new form. */
  readonly opening: number;
}

/**
 * Makes drafts of what is pressed or dragged in a calendar.
 *
 * @param therapistId - whose calendar it is; null: of everybody
 */
export function useDrafts(therapistId: string | null) {
  const { times } = useMe();
  const { therapists } = useTherapists();
  const at = ({ start, end, column }: Slot, about: BookingStart = {}): Draft => ({
    ...{ opening: performance.now(), start, end },
    therapistId: column ?? therapistId ?? therapists[0]?.id ?? '',
    ...about,
  });
  return {
    /** A new session in a slot. */
    at,
    /** A new session in the morning of a day, or of today when the day is past. */
    on(date: string): Draft {
      const [day] = [date, times.today()].sort().reverse();
      return at({ start: `${day}T10:00:00`, end: `${day}T11:00:00` });
    },
    /** A move of a session, to a slot or from where it is; `refused` is what a move by drag was refused for. */
    move(session: SessionRow, to?: Slot, refused?: SessionsApiError): Draft {
      const { start, end, column } = to ?? {
        ...{ start: times.civil(session.start_time), end: times.civil(session.end_time) },
        column: undefined,
      };
      const about = { session, clientId: session.client_id, refused };
      return at({ start, end, column: column ?? session.therapist_id }, about);
    },
    /** A draft that was dragged on. */
    drag: (draft: Draft, { start, end, column }: Slot): Draft => ({
      ...{ ...draft, start, end, therapistId: column || draft.therapistId },
      dragged: performance.now(),
    }),
  };
}

/** What is told of a booking form. */
export interface BookingListener {
  /** What was booked. */
  onBooked(booked: Booked): void;
  /** Something was held or given back. */
  onHeld(): void;
  /** The form names another time or therapist. */
  onPlace?(place: BookingPlace): void;
}

/** A form's fields, what they mean, and what can be done with them. */
export interface BookingForm {
  readonly fields: BookingFields;
  set(changes: Partial<BookingFields>): void;
  readonly services: readonly ServiceCode[];
  readonly service: string;
  /** Null as long as something is missing. */
  readonly request: BookSessionRequest | null;
  /** The dates of a series, where they would be; undefined for one session, or while they are looked for. */
  readonly dates: readonly PreviewedDate[] | undefined;
  readonly datesError: unknown;
  readonly blockedDates: number;
  /** How many sessions a press would book. */
  readonly bookable: number;
  /** Whether the start is free, and some that are free that day, near it; undefined while they are looked for. */
  readonly openSlots: { readonly isOpen: boolean; readonly near: readonly OpenSlot[] } | undefined;
  /** The authorization it would draw on, and the units each session takes. */
  readonly draws: { readonly balance: Balance; readonly units: number | null } | null;
  /** What is wrong with the fields, in words; empty when nothing is. */
  readonly wrong: string;
  readonly action: Action;
  readonly booking: Booking;
  submit(how: 'book' | 'hold'): Promise<void>;
  /** For the form's element: books, or holds when it is sent by a button whose value is `hold`. */
  onSubmit(event: { readonly nativeEvent: Event; preventDefault(): void }): void;
  /** Whether one of some sessions takes the time that is chosen. */
  isTaken(sessions: readonly SessionRow[]): boolean;
  /** The dates of a series in words; of a long one those that are not free and the first few, unless all are wanted. */
  previewOf(all: boolean, therapistName?: string): SeriesPreview;
  /** Books another start, or the same again, perhaps in spite of a rule. */
  retry(slot: OpenSlot | null, override?: BookSessionRequest['override']): Promise<void>;
  choose(slot: OpenSlot): void;
  /** Puts the client on the waitlist for that day. */
  wait(): Promise<void>;
}

/** The series that is chosen, as calls take it; null for one alone. */
export function recurrenceOf({ repeat, end, count, until }: TimeFields): RecurrenceInput | null {
  if (!repeat) return null;
  return { rule: repeat, ...(end === 'count' ? { count: Number(count) } : { until }) };
}

/** What is wrong with each field, or in general. */
function sentencesOf(invalid: SessionsApiError | null): string {
  if (!invalid) return '';
  return invalid.issues.map(issueSentence).join(' ') || messageOf(invalid);
}

type Override = BookSessionRequest['override'];

/** Minutes between two local times. */
const civilMinutes = (from: string, to: string) =>
  (Date.parse(`${to.slice(0, 16)}Z`) - Date.parse(`${from.slice(0, 16)}Z`)) / 60_000;

/** The change that takes another back. */
function reversed({ change }: SeriesChangeRequest, before: SessionRow | undefined): SeriesChange {
  const length = before && (Date.parse(before.end_time) - Date.parse(before.start_time)) / 60_000;
  return {
    ...(change.shiftMinutes && { shiftMinutes: -change.shiftMinutes }),
    ...(change.durationMinutes && { durationMinutes: length }),
    ...(change.therapistId && { therapistId: before?.therapist_id }),
  };
}

/** A booking that was made, or a session that was moved, and how to take it back. */
export interface Booked extends Made {
  /** In words, such as `Booked: Tue, Dec 1, 10:00 – 11:00 AM.` */
  readonly text: string;
  undo(): Promise<unknown>;
}

const emptyForm: BookingFields = {
  clientId: '',
  others: [],
  therapistId: '',
  date: '',
  from: '',
  to: '',
  service: '',
  place: 'clinic',
  roomId: '',
  repeat: '',
  end: 'count',
  count: '12',
  until: '',
  skip: false,
  scope: 'this',
};

/**
 * A booking form.
 *
 * @param start - where it begins, and with what
 * @param listener - what is told
 */
export function useBookingForm(
  { session: moved, refused, dragged, clientId: firstClient = '', ...draft }: BookingStart & BookingPlace,
  { onBooked, onHeld, onPlace }: BookingListener,
): BookingForm {
  const supabase = useSupabase();
  const { times } = useMe();
  const { byId, isPending } = useTherapists();
  const levelKnown = useWhen(!isPending);
  const action = useAction();
  const [wrong, setWrong] = useState('');
  const placed = {
    therapistId: draft.therapistId,
    ...{ date: draft.start.slice(0, 10), from: draft.start.slice(11, 16), to: draft.end.slice(11, 16) },
  };
  const [fields, setFields] = useState<BookingFields>({ ...emptyForm, ...placed, clientId: firstClient });
  const { clientId, others, therapistId, date, repeat, end, until, scope } = fields;
  const place = `${date} ${fields.from} ${fields.to} ${therapistId}`;
  const follow = useRef(onPlace);
  follow.current = onPlace;
  useEffect(() => {
    const [day = '', from = '', to = '', whose = ''] = place.split(' ');
    if (day && to > from)
      follow.current?.({ start: `${day}T${from}:00`, end: `${day}T${to}:00`, therapistId: whose });
  }, [place]);
  useEffect(() => {
    if (dragged !== undefined) setFields((before) => ({ ...before, ...placed }));
  }, [dragged]);
  const size = others.length + 1;
  const services = servicesFor(byId.get(therapistId)?.credential ?? '', date, size);
  const service = services.find(({ code }) => code === fields.service)?.code ?? services[0]?.code ?? '';
  const isComplete = clientId !== '' && therapistId !== '' && date !== '' && fields.to > fields.from;
  const requestOf = (chosen: BookingFields): BookSessionRequest => ({
    session: {
      therapist_id: therapistId,
      client_id: clientId,
      start_time: times.instant(`${chosen.date}T${chosen.from}`),
      end_time: times.instant(`${chosen.date}T${chosen.to}`),
      ...(moved
        ? { id: moved.id, session_type: moved.session_type, location_type: moved.location_type }
        : { session_type: sessionTypeOf(service, size), location_type: chosen.place }),
    },
    // What is moved keeps its service, its room and its group.
    ...(!moved && {
      clientIds: size > 1 ? [clientId, ...others] : null,
      recurrence: recurrenceOf(chosen),
      overrides: { cptCode: service },
      roomId: chosen.roomId || null,
    }),
    timeZone: times.timeZone,
    onConflict: repeat && chosen.skip ? 'skip' : 'refuse',
  });
  const request = isComplete ? requestOf(fields) : null;

  /** The change of several sessions of a series, as far as the one that is looked at would go. */
  const changeOf = (chosen: BookingFields, override?: Override): SeriesChangeRequest | null => {
    if (!moved?.series_id || scope === 'this') return null;
    const { start, minutes: before, therapistId: whose } = placeOf(moved, times);
    const shift = civilMinutes(start, `${chosen.date}T${chosen.from}`);
    const length = civilMinutes(`${chosen.date}T${chosen.from}`, `${chosen.date}T${chosen.to}`);
    return {
      seriesId: moved.series_id,
      scope,
      from: scope === 'following' ? moved.start_time : undefined,
      change: {
        ...(shift !== 0 && { shiftMinutes: shift }),
        ...(length !== before && { durationMinutes: length }),
        ...(therapistId !== whose && { therapistId }),
      },
      therapistId: whose,
      override,
    };
  };
  const change = isComplete ? changeOf(fields) : null;
  const isSeries =
    change !== null || (repeat !== '' && (end === 'count' ? Number(fields.count) > 1 : until >= date));
  const series = useSettled(request && isSeries ? (change ?? { ...request, cptCode: service }) : null);
  const preview = useRead<PreviewedDate[]>(
    ['preview', series],
    async (signal) => {
      if (!series) return [];
      return 'seriesId' in series
        ? await previewSeriesChange(supabase, { ...series, signal })
        : await previewSeries(supabase, { ...series, signal });
    },
    { enabled: series !== null, staleTime: 0 },
  );
  const dates = isSeries ? preview.data : undefined;
  const blockedDates = dates?.filter(({ blockedBy }) => blockedBy !== null).length ?? 0;

  const booking = useBooking(
    (made) => {
      const sessionIds = made.sessions.map(({ id }) => id);
      const withdrawal = {
        sessionIds,
        reason: 'Booked by mistake',
        cancellationAttribution: 'staff',
      } as const;
      const [first, ...more] = made.sessions;
      const { timeZone } = times;
      const back = change && {
        ...change,
        from: change.from && first?.start_time,
        change: reversed(change, moved),
      };
      const moveBack = moved && { ...placeOf(moved, times), session: moved, timeZone };
      const undo = async () => {
        if (back) return await changeSeries(supabase, back);
        return moveBack ? await moveSession(supabase, moveBack) : await cancelSessions(supabase, withdrawal);
      };
      const when = first ? times.dayRange(first.start_time, first.end_time) : '';
      const many = `${made.sessions.length} sessions`;
      const what = moved
        ? `Moved ${more.length > 0 ? many : `to ${when}`}.`
        : `Booked${more.length > 0 ? ` ${many}` : `: ${when}`}.`;
      onBooked({ ...made, undo, text: made.leftOut > 0 ? `${what} Left out: ${made.leftOut}.` : what });
    },
    onHeld,
    refused,
  );
  const attempt = async (how: 'book' | 'hold', chosen: BookingFields, override?: Override) => {
    const problem = !clientId ? 'Choose a client.' : isComplete ? '' : 'The end must be after the start.';
    setWrong(problem);
    if (problem) return;
    const wish = changeOf(chosen, override);
    if (wish) return await booking[how](wish);
    const payerRules = await fetchPayerRules(supabase, { clientId, date: chosen.date });
    await booking[how]({ ...requestOf(chosen), override, payerRules });
  };
  const latest = useRef(attempt);
  latest.current = attempt;
  const submit = (how: 'book' | 'hold') =>
    action.run(async () => {
      // Which services there are depends on the therapist's level: a press that is quicker than that read waits for it.
      await levelKnown;
      await latest.current(how, fields);
    });
  const at = ({ startTime, endTime }: OpenSlot): BookingFields => {
    const local = times.civil(startTime);
    return {
      ...fields,
      date: local.slice(0, 10),
      from: local.slice(11, 16),
      to: times.civil(endTime).slice(11, 16),
    };
  };
  const minutes = request
    ? (Date.parse(request.session.end_time) - Date.parse(request.session.start_time)) / 60_000
    : 0;
  return {
    ...{ fields, services, service, request, dates, blockedDates, action, booking },
    set: (changes) => setFields((before) => ({ ...before, ...changes })),
    datesError: isSeries ? preview.error : null,
    bookable: (dates?.length ?? 1) - (fields.skip ? blockedDates : 0),
    openSlots: useOpenSlots(moved ? null : request, service, minutes),
    draws: useDraws(moved ? null : request, service, date),
    wrong: wrong || sentencesOf(booking.invalid),
    submit,
    onSubmit(event) {
      event.preventDefault();
      const { submitter } = event.nativeEvent as SubmitEvent;
      void submit(submitter?.getAttribute('value') === 'hold' ? 'hold' : 'book');
    },
    isTaken: (sessions) =>
      sessions.some(
        ({ therapist_id, status, start_time, end_time }) =>
          therapist_id === therapistId &&
          status === 'scheduled' &&
          start_time < (request?.session.end_time ?? '') &&
          end_time > (request?.session.start_time ?? ''),
      ),
    previewOf(all, therapistName) {
      const rows = dates ?? [];
      const offset = (row = rows[0]) => times.offset(row?.startTime ?? 0);
      const shown = rows
        .filter(
          ({ blockedBy }, index) => all || rows.length <= SHOWN_WHOLE || blockedBy || index < SHOWN_FREE,
        )
        .map((row) => {
          const hasChanged = row.index > 0 && offset(row) !== offset(rows[row.index - 1]);
          const change = hasChanged ? ` · clocks have changed, still ${times.clock(row.startTime)}` : '';
          return { ...row, words: explainBlocked(row, therapistName) + change };
        });
      return { shown, total: rows.length, free: rows.length - blockedDates };
    },
    retry: async (slot, override) => {
      const chosen = slot ? at(slot) : fields;
      setFields(chosen);
      await attempt('book', chosen, override);
    },
    choose: (slot) => setFields(at(slot)),
    async wait() {
      const { from, to } = dayBounds(date, times.timeZone);
      await joinWaitlist(supabase, { clientId, cptCode: service, windows: [{ from, to }], minutes });
    },
  };
}

/** A promise that is kept once something is so. */
function useWhen(isSo: boolean): Promise<void> {
  const [{ promise, keep }] = useState(() => {
    let keep = () => {};
    const promise = new Promise<void>((kept) => {
      keep = kept;
    });
    return { promise, keep };
  });
  useEffect(() => {
    if (isSo) keep();
  }, [isSo, keep]);
  return promise;
}

/**
 * A search for the client of a form: letters choose the first client that has them, and names that are read only after
 * letters were typed choose too.
 *
 * @param form - whose client it is
 */
export function useClientSearch({ fields: { clientId }, set }: BookingForm) {
  const { matching, nameOf } = useClients();
  const [search, setSearch] = useState('');
  const found = matching(search);
  const first = search.trim() ? (found[0]?.id ?? '') : '';
  useEffect(() => {
    if (first && !found.some(({ id }) => id === clientId)) set({ clientId: first });
  }, [first]);
  return {
    ...{ search, found, nameOf },
    choose(letters: string) {
      setSearch(letters);
      set({ clientId: letters.trim() ? (matching(letters)[0]?.id ?? '') : '' });
    },
  };
}

const SLOTS_SHOWN = 5;

/** What is free on the day of a request, nearest to its start first. */
function useOpenSlots(request: BookSessionRequest | null, cptCode: string, minutes: number) {
  const supabase = useSupabase();
  const { times } = useMe();
  const date = request ? times.civil(request.session.start_time).slice(0, 10) : times.today();
  const { from, to } = dayBounds(date, times.timeZone);
  const wanted = useSettled({
    therapistId: request?.session.therapist_id ?? '',
    ...(request?.clientIds ? { clientIds: request.clientIds } : { clientId: request?.session.client_id }),
    ...{ roomId: request?.roomId, cptCode, from, to, minutes, timeZone: times.timeZone },
  });
  const { data } = useRead(
    ['open-slots', wanted],
    (signal) => findOpenSlots(supabase, { ...wanted, signal }),
    {
      enabled: wanted.minutes > 0,
    },
  );
  if (!request || !data) return undefined;
  const start = Date.parse(request.session.start_time);
  const distance = ({ startTime }: OpenSlot) => Math.abs(Date.parse(startTime) - start);
  const others = data.filter((slot) => distance(slot) > 0).sort((a, b) => distance(a) - distance(b));
  return {
    isOpen: others.length < data.length,
    near: others.slice(0, SLOTS_SHOWN).sort((a, b) => a.startTime.localeCompare(b.startTime)),
  };
}

function useDraws(request: BookSessionRequest | null, cptCode: string, date: string) {
  const where = { client_id: request?.session.client_id ?? '' };
  const { data } = useReport<Balance>('authorization_balances', { where }, request !== null);
  const balance = data?.find(
    ({ starts_on, ends_on, cpt_codes }) =>
      starts_on <= date && ends_on >= date && cpt_codes.includes(cptCode),
  );
  return balance && request ? { balance, units: deriveCptMetadata(request).units } : null;
}
