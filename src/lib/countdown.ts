/** A span of time that runs out, told by how much of it is left. */
export interface Countdown {
  /** Whole seconds left, never more than there are; 0 when it is over. */
  secondsLeft(): number;
}

/**
 * Counts down from a number of seconds, on a device whose clock may be wrong, set anew, or stopped by sleep.
 *
 * An answer such as a hold's says when it ends by the server's clock, which the device's may not agree with. What both
 * agree on is how long it lasts. Time is counted from when the request was *sent*, by whichever of the device's two
 * clocks says that more has passed: the monotonic one stops while a laptop sleeps, the other can be set back.
 *
 * @param seconds - how long it lasts, such as the `holdSeconds` that were asked for, or a 409's `retryAfterSeconds`
 * @param sent - when the request was sent, from {@link clockReading}; now when absent
 * @returns the countdown
 * @example
 * ```ts
 * const sent = clockReading();
 * const held = await requestSessionHold(supabase, {
 *   therapistId,
 *   clientId,
 *   startTime: '2026-12-01T18:00:00Z',
 *   endTime: '2026-12-01T19:00:00Z',
 *   timeZone: 'America/Los_Angeles',
 *   holdSeconds: 300,
 * });
 * const left = countdown(300, sent);
 * left.secondsLeft() > 0; // whether there is time to confirm `held`
 * ```
 */
export function countdown(seconds: number, sent: ClockReading = clockReading()): Countdown {
  return {
    secondsLeft() {
      const now = clockReading();
      const elapsed = Math.max(now.monotonic - sent.monotonic, now.wall - sent.wall, 0);
      return Math.max(0, Math.floor(seconds - elapsed / 1000));
    },
  };
}

/** What the device's clocks showed at one moment, in milliseconds. */
export interface ClockReading {
  readonly monotonic: number;
  readonly wall: number;
}

/**
 * Reads both clocks of the device. Take it before a request is sent.
 *
 * @returns the reading
 * @example
 * ```ts
 * const sent = clockReading();
 * countdown(30, sent).secondsLeft() <= 30; // true
 * ```
 */
export function clockReading(): ClockReading {
  return { monotonic: performance.now(), wall: Date.now() };
}
