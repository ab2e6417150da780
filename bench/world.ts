/** Which clinics a run has, and what is booked in them before anything is timed. */
import type pg from 'pg';
import { type Appointment, at, book, createClinic, midnight, workingDays } from './clinic.ts';

const range = (from: number, to: number): number[] =>
  Array.from({ length: to - from }, (_, index) => from + index);

/** Ten organizations of a hundred therapists with eight clients each; half of the clients have a payer. */
export const SIZE = { organizations: 10, therapists: 100, clientsPerTherapist: 8, withPayer: 4 } as const;

/** Where most rows are measured: the first client of ten therapists has 300 entries in the ledger. */
export const HOT = {
  organization: 0,
  therapists: range(0, 10),
  payerClient: 0,
  plainClient: 4,
  ledger: 300,
} as const;
/** Where the ledger's growth is measured: the first client of each has as many entries. */
export const LEDGER = {
  organization: 1,
  small: 10,
  smallTherapists: range(0, 3),
  large: 1000,
  largeTherapists: range(3, 6),
} as const;
/** Where series are measured, by the clients' ledgers of 300. */
export const SERIES = {
  organization: 2,
  therapists: range(0, 4),
  payerClient: 0,
  plainClient: 4,
  ledger: 300,
} as const;
/** A therapist whose working days are full for a year and more, and one who has no appointments. */
export const FULL = { organization: 3, therapist: 0, freeTherapist: 1, weeks: 58 } as const;
/** The clinic of which a whole day is cancelled. */
export const DAYS = { organization: 4, firstDay: 100, sessionsPerTherapist: 30 } as const;
/** Where calls are measured before and after the tables grow. */
export const GROWTH = { organization: 5, therapists: range(0, 10), ledger: 100 } as const;
/** Whose week is read under row security. */
export const WEEK = { organization: 6, therapist: 3 } as const;
/** Where rivals meet: all of them admins, for a therapist books only their own time. */
export const RIVALS = { pool: 7, fresh: 8, count: 60 } as const;

/** A Monday three to four weeks ahead, 08:00 UTC: in the full therapist's working hours for 52 weeks from there. */
export function fullFrom(): number {
  let day = 21;
  while (new Date(midnight(day)).getUTCDay() !== 1) day++;
  return at(day, 8 * 60);
}

/** The first day of so many appointments, eight a weekday, that half of them lie in the past. */
const aroundToday = (appointments: number): number => -Math.ceil(appointments / 8 / 5 / 2) * 7;

/** Creates the organizations, and in each of the measured ones what it needs. */
export async function createWorld(db: pg.ClientBase): Promise<void> {
  for (const organization of range(0, SIZE.organizations)) {
    const admins = organization === RIVALS.pool || organization === RIVALS.fresh ? RIVALS.count : 1;
    await createClinic(db, organization, { ...SIZE, admins });
  }
  const ledgers = (therapists: readonly number[], entries: number): Appointment[] =>
    therapists.flatMap((therapist) => workingDays(therapist, [0], aroundToday(entries), entries));
  await book(db, HOT.organization, ledgers(HOT.therapists, HOT.ledger));
  await book(db, LEDGER.organization, ledgers(LEDGER.smallTherapists, LEDGER.small));
  await book(db, LEDGER.organization, ledgers(LEDGER.largeTherapists, LEDGER.large));
  await book(db, SERIES.organization, ledgers(SERIES.therapists, SERIES.ledger));
  await book(db, FULL.organization, workingDays(FULL.therapist, range(0, 8), 1, FULL.weeks * 40));
  await book(db, GROWTH.organization, ledgers(GROWTH.therapists, GROWTH.ledger));
  await book(
    db,
    WEEK.organization,
    range(0, 20).flatMap((therapist) => workingDays(therapist, range(0, 8), -14, 80)),
  );
}

/** What is cancelled: days of so many sessions, half an hour each, evenly among therapists and their clients. */
export async function bookDay(db: pg.ClientBase, day: number, sessions: number): Promise<void> {
  await book(
    db,
    DAYS.organization,
    range(0, sessions).map((number) => {
      const slot = number % DAYS.sessionsPerTherapist;
      const start = at(day, slot * 30);
      return {
        therapist: Math.floor(number / DAYS.sessionsPerTherapist),
        client: slot % SIZE.clientsPerTherapist,
        start,
        end: start + 30 * 60_000,
      };
    }),
  );
}

/** Fills past weekdays of an organization: 800 sessions each, which end a month ago. */
export async function grow(db: pg.ClientBase, organization: number, weekdays: number): Promise<void> {
  const firstDay = -Math.ceil(weekdays / 5) * 7 - 30;
  for (const therapist of range(0, SIZE.therapists)) {
    // Their calendars reach further back.
    if (organization === LEDGER.organization && LEDGER.largeTherapists.includes(therapist)) continue;
    await book(db, organization, workingDays(therapist, range(0, 8), firstDay, weekdays * 8));
  }
}
