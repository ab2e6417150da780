/** Who waits for a slot, and what each is offered right now. */
import {
  bookOffer,
  cancelSessionHold,
  fetchWaitlist,
  leaveWaitlist,
  type WaitingEntry,
  waitedFor,
} from '../lib/index.ts';
import { useSeconds } from './actions.ts';
import { type Read, useRead } from './reads.ts';
import { useMe, useSupabase } from './session.ts';

/** An entry of the waitlist in words, and what can be done about it. */
export interface Waiting extends WaitingEntry {
  /** When it may be, in words. */
  readonly wishes: string;
  /** Seconds the offer still stands; 0 without one. */
  readonly secondsLeft: number;
  book(): Promise<unknown>;
  /** Passes the offer on to the next entry it suits. */
  pass(): Promise<unknown>;
  leave(): Promise<unknown>;
}

/** The waitlist, looked for again as often as the schedule. */
export function useWaitlist(): Read<Waiting[]> {
  const supabase = useSupabase();
  const { times, now } = useMe();
  const ask = (signal: AbortSignal) => fetchWaitlist(supabase, { signal });
  const read = useRead(['waitlist'], ask, { refetchInterval: 15_000, staleTime: 0 });
  useSeconds(read.data?.some(({ offer }) => offer !== null) ?? false);
  const inWords = ({ from, to }: { from: string; to: string }) =>
    times.civil(from).slice(0, 10) === times.civil(to).slice(0, 10)
      ? times.dayRange(from, to)
      : `${times.day(from)} to ${times.day(Date.parse(to) - 1)}`;
  const again = async (work: Promise<unknown>) => {
    await work;
    await read.refetch();
  };
  const data = read.data?.map((waiting): Waiting => {
    const { entry, offer } = waiting;
    const until = offer ? Date.parse(offer.expiresAt) - now() : 0;
    return {
      ...waiting,
      wishes: waitedFor(entry).map(inWords).join('; '),
      secondsLeft: Math.max(0, Math.floor(until / 1000)),
      book: () => again(bookOffer(supabase, waiting)),
      pass: () => again(cancelSessionHold(supabase, { holdKey: offer?.holdKey ?? '' })),
      leave: () => again(leaveWaitlist(supabase, { entryId: entry.id })),
    };
  });
  return { ...read, data } as Read<Waiting[]>;
}
