/** The API that serves this page, with the key every local project has; a build for a real project names its own. */
import { createClient } from '@supabase/supabase-js';
import { QueryClient } from '@tanstack/react-query';
import type { Database } from 'therapist-sessions';

export const apiUrl: string = import.meta.env.VITE_SUPABASE_URL ?? location.origin;
const key = import.meta.env.VITE_SUPABASE_KEY ?? 'sb_publishable_ACJWlzQHlZjBrEguHvfOxg_3BJgxAaH';

/** Tabs whose sessions have one name tell each other who signs in, although each has its own. */
const tab = sessionStorage.getItem('tab') ?? crypto.getRandomValues(new Uint32Array(2)).join('-');
sessionStorage.setItem('tab', tab);

/** Signed in for as long as the tab is open: clinics share computers. */
export const supabase = createClient<Database>(apiUrl, key, {
  auth: { storage: sessionStorage, storageKey: `therapist-sessions ${tab}`, detectSessionInUrl: false },
});

/** Nothing is kept beyond the tab, and the library does the retrying. */
export const queryClient = new QueryClient({
  defaultOptions: { queries: { retry: false, staleTime: 60_000, gcTime: 300_000 } },
});
