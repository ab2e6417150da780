import { describe, expect, it } from 'vitest';
import { seriesAcrossClockChange } from '../../local/demo/dates.ts';

const zone = 'America/Los_Angeles';
const DAY = 86_400_000;

describe('the demo’s series', () => {
  it.each([
    ['2026-11-22T12:00:00Z', '2027-03-02', '2027-03-14', 60],
    ['2027-03-01T12:00:00Z', '2027-03-02', '2027-03-14', 60],
    ['2027-03-02T12:00:00Z', '2027-10-26', '2027-11-07', -60],
    ['2027-06-15T12:00:00Z', '2027-10-26', '2027-11-07', -60],
  ])('booked at %s begins on %s, before the change of %s', (now, firstDate, changeDate, changeMinutes) => {
    expect(seriesAcrossClockChange(zone, Date.parse(now))).toEqual({ firstDate, changeDate, changeMinutes });
  });

  it('is a Tuesday in the future, and within 730 days to its end, whatever the day', () => {
    const from = Date.parse('2026-01-01T07:30:00Z');
    for (let now = from; now < from + 3 * 366 * DAY; now += DAY) {
      const { firstDate, changeDate } = seriesAcrossClockChange(zone, now);
      const first = Date.parse(`${firstDate}T00:00:00Z`);
      expect(new Date(first).getUTCDay()).toBe(2);
      expect(Date.parse(`${changeDate}T00:00:00Z`) - first).toBe(12 * DAY);
      // 10:00 in Los Angeles is at least 17 hours into the UTC day.
      expect(first + 17 * 3_600_000).toBeGreaterThan(now);
      expect(first + 36 * DAY).toBeLessThan(now + 730 * DAY);
    }
  });

  it('says so when a zone never changes its clocks', () => {
    expect(() => seriesAcrossClockChange('Asia/Tokyo', Date.now())).toThrow('do not change within 400 days');
  });
});
