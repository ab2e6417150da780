/** Secret addresses at which calendar programs read along. */
import { useState } from 'react';
import {
  type CalendarFeedRow,
  createCalendarFeed,
  fetchCalendarFeeds,
  revokeCalendarFeed,
} from '../lib/index.ts';
import { type Read, useRead } from './reads.ts';
import { useMe, useSupabase } from './session.ts';

/** The calendar feeds of somebody. */
export interface CalendarFeeds extends Read<CalendarFeedRow[]> {
  /** The address of the feed that was just made. It is told this once: only its hash is kept. */
  readonly address: string | null;
  /** Makes one for whoever is signed in. */
  create(): Promise<void>;
  revoke(feedId: string): Promise<void>;
}

/**
 * The calendar feeds of whoever is signed in, or for an admin of somebody else.
 *
 * @param origin - where the API is, such as `https://your-project.supabase.co`
 * @param ownerId - whose; the signed-in person's when absent
 */
export function useCalendarFeeds(origin: string, ownerId?: string): CalendarFeeds {
  const supabase = useSupabase();
  const { userId } = useMe();
  const [address, setAddress] = useState<{ readonly feedId: string; readonly url: string } | null>(null);
  const read = useRead(['calendar-feeds'], (signal) => fetchCalendarFeeds(supabase, { signal }), {
    staleTime: 0,
  });
  return {
    ...read,
    data: read.data?.filter(({ user_id }) => user_id === (ownerId ?? userId)),
    address: address?.url ?? null,
    async create() {
      const { feedId, path } = await createCalendarFeed(supabase);
      setAddress({ feedId, url: new URL(path, origin).href });
      await read.refetch();
    },
    async revoke(feedId) {
      await revokeCalendarFeed(supabase, { feedId });
      setAddress((before) => (before?.feedId === feedId ? null : before));
      await read.refetch();
    },
  };
}
