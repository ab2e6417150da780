/** Remembers the last HTTP exchange of a supabase-js client, so that the demo can show what really went over the wire. */

/** One request and its answer. */
export interface Exchange {
  method: string;
  path: string;
  status: number;
  headers: Headers;
  /** The JSON body, or null. */
  body: unknown;
  milliseconds: number;
}

/** A `fetch` for supabase-js, and the last call of an edge function made through it. */
export function recordingFetch(): { fetch: typeof fetch; last(): Exchange } {
  let last: Exchange | undefined;
  return {
    async fetch(input, init) {
      const started = performance.now();
      const response = await fetch(input, init);
      const milliseconds = performance.now() - started;
      const url = new URL(input instanceof Request ? input.url : input);
      if (url.pathname.startsWith('/functions/'))
        last = {
          method: init?.method ?? 'GET',
          path: url.pathname,
          status: response.status,
          headers: response.headers,
          body: await response
            .clone()
            .json()
            .catch(() => null),
          milliseconds,
        };
      return response;
    },
    last() {
      if (!last) throw new Error('Nothing was called yet.');
      return last;
    },
  };
}
