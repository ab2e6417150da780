import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  assertSessionCompleteness,
  billableUnits,
  coverageGap,
  dailyUnitWarnings,
  dayUnits,
  deriveCptMetadata,
  type PayerRules,
  poolUnits,
  providerLevel,
  SERVICE_CODES,
  type ServiceCode,
  SessionsApiError,
  serviceCode,
} from '../../src/lib/index.ts';

const session = (extra: object = {}) => ({
  start_time: '2026-12-01T18:00:00Z',
  end_time: '2026-12-01T19:00:00Z',
  session_type: 'individual',
  location_type: 'clinic',
  ...extra,
});

describe('the code of a session', () => {
  it.each([
    ['individual', '97153', [], 'session_type'],
    ['group', '97154', [], 'session_type'],
    ['supervision', '97155', [], 'session_type'],
    ['assessment', '97151', [], 'session_type'],
    ['consultation', '97156', [], 'session_type'],
    ['  Group ', '97154', [], 'session_type'],
    ['ASSESSMENT', '97151', [], 'session_type'],
    ['picnic', '97153', [], 'fallback'],
    ['constructor', '97153', [], 'fallback'],
    ['', '97153', [], 'fallback'],
    [null, '97153', [], 'fallback'],
  ])('of type “%s” is %s %j', (session_type, code, modifiers, source) => {
    expect(deriveCptMetadata({ session: session({ session_type }) })).toMatchObject({
      code,
      modifiers,
      source,
    });
  });

  it('can be chosen instead, in any case', () => {
    expect(deriveCptMetadata({ session: session(), overrides: { cptCode: ' 0373t ' } })).toMatchObject({
      code: '0373T',
      description: 'Treatment of severe behavior',
      source: 'override',
    });
  });

  it('that is unknown is a custom one', () => {
    const chosen = deriveCptMetadata({
      session: session(),
      overrides: { cptCode: 'h2019', modifiers: ['u1'] },
    });
    expect(chosen).toMatchObject({ code: 'H2019', description: 'Custom CPT code', modifiers: ['U1'] });
  });

  it('that is chosen as blank is not chosen', () => {
    expect(deriveCptMetadata({ session: session(), overrides: { cptCode: ' ' } }).source).toBe(
      'session_type',
    );
  });
});

describe('modifiers', () => {
  it.each(['telehealth', 'Tele-health', 'virtual', 'Remote (home)', 'home_virtual'])(
    'a location “%s” adds 95',
    (place) => {
      expect(deriveCptMetadata({ session: session({ location_type: place }) }).modifiers).toEqual(['95']);
    },
  );
  it.each(['clinic', 'home', 'hotel', '', null])('a location “%s” does not', (place) => {
    expect(deriveCptMetadata({ session: session({ location_type: place }) }).modifiers).toEqual([]);
  });

  const payerRules: PayerRules = {
    codes: { '97154': { modifiers: { technician: ['hm', 'HQ'], qhp: ['HO'] } } },
  };
  const group = session({ session_type: 'group', location_type: 'telehealth' });
  const modifiersOf = (extra: object) =>
    deriveCptMetadata({ session: group, payerRules, ...extra }).modifiers;

  it.each([
    ['RBT', ['HM', 'HQ', '95']],
    ['BCBA', ['HO', '95']],
    ['BCBA-D', ['HO', '95']],
    ['BCaBA', ['95']],
    ['PhD', ['95']],
    [null, ['95']],
  ])('follow payer, code and the level of who renders: %s', (credential, modifiers) => {
    expect(modifiersOf({ credential })).toEqual(modifiers);
  });

  it('the level may be given instead of a credential', () => {
    expect(modifiersOf({ level: 'technician' })).toEqual(['HM', 'HQ', '95']);
    expect(modifiersOf({ level: 'qhp', credential: 'RBT' })).toEqual(['HO', '95']);
  });

  it('that are chosen replace the payer’s, and the place’s stands after them', () => {
    expect(modifiersOf({ credential: 'RBT', overrides: { modifiers: [' gt '] } })).toEqual(['GT', '95']);
    expect(modifiersOf({ credential: 'RBT', overrides: { modifiers: null } })).toEqual(['HM', 'HQ', '95']);
    expect(modifiersOf({ credential: 'RBT', overrides: { modifiers: [] } })).toEqual([]);
  });

  it('are four at most, each once, in upper case', () => {
    expect(modifiersOf({ overrides: { modifiers: ['u1', 'U1', '95', 'u2', 'u3', 'u4'] } })).toEqual([
      'U1',
      '95',
      'U2',
      'U3',
    ]);
  });

  it('are none without a payer', () => {
    expect(modifiersOf({ payerRules: null, credential: 'BCBA' })).toEqual(['95']);
  });

  it('the payer may want another one for telehealth, or none', () => {
    const of = (telehealthModifier: string | null) =>
      deriveCptMetadata({
        session: session({ location_type: 'telehealth' }),
        payerRules: { telehealthModifier },
      }).modifiers;
    expect(of('GT')).toEqual(['GT']);
    expect(of(null)).toEqual([]);
  });

  it('none is invented for a long session', () => {
    const { modifiers } = deriveCptMetadata({ session: session({ end_time: '2026-12-02T02:00:00Z' }) });
    expect(modifiers).toEqual([]);
  });
});

describe('the duration', () => {
  it('is elapsed time, across a change of the clocks too', () => {
    const night = { start_time: '2025-11-02T00:30:00-07:00', end_time: '2025-11-02T02:30:00-08:00' };
    expect(deriveCptMetadata({ session: session(night) })).toMatchObject({ durationMinutes: 180, units: 12 });
  });

  it.each([
    ['an end at the start', { end_time: '2026-12-01T18:00:00Z' }],
    ['an end before the start', { end_time: '2026-12-01T17:00:00Z' }],
    ['no end', { end_time: null }],
    ['a local time', { start_time: '2026-12-01T10:00' }],
  ])('is null with %s', (_, extra) => {
    expect(deriveCptMetadata({ session: session(extra) })).toMatchObject({
      durationMinutes: null,
      units: null,
    });
  });
});

describe('units', () => {
  it.each([
    [0, 0],
    [7, 0],
    [8, 1],
    [16, 1],
    [22, 1],
    [23, 2],
    [37, 2],
    [38, 3],
    [52, 3],
    [53, 4],
    [67, 4],
  ])('%i minutes are %i by midpoint', (minutes, units) => {
    expect(billableUnits(minutes)).toBe(units);
    expect(billableUnits(minutes, 'cms_pooled')).toBe(units);
  });

  it('can be rounded down or up', () => {
    expect([0, 14, 15, 29, 30].map((minutes) => billableUnits(minutes, 'floor'))).toEqual([0, 0, 1, 1, 2]);
    expect([0, 1, 15, 16, 30].map((minutes) => billableUnits(minutes, 'ceil'))).toEqual([0, 1, 1, 2, 2]);
  });

  it('are rounded by the payer’s rule for the code, else its general one', () => {
    const payerRules: PayerRules = { rounding: 'floor', codes: { '97153': { rounding: 'ceil' } } };
    const of = (session_type: string) =>
      deriveCptMetadata({ session: session({ session_type, end_time: '2026-12-01T18:25:00Z' }), payerRules })
        .units;
    expect([of('individual'), of('assessment')]).toEqual([2, 1]);
  });

  it('of nonsense are refused', () => {
    for (const minutes of [-1, Number.NaN, Number.POSITIVE_INFINITY]) {
      expect(() => billableUnits(minutes)).toThrow(RangeError);
      expect(() => poolUnits([{ code: '97153', minutes }])).toThrow(RangeError);
    }
  });

  it('exceed a day’s limit with a warning', () => {
    const payerRules: PayerRules = { codes: { '97153': { maxDailyUnits: 32 } } };
    expect(dailyUnitWarnings({ '97153': 33, '97155': 99 }, payerRules)).toEqual([
      { code: '97153', units: 33, maxDailyUnits: 32 },
    ]);
    expect(dailyUnitWarnings({ '97153': 32 }, payerRules)).toEqual([]);
  });
});

describe('a pooled day', () => {
  it('rounds the sum: 7 and 7 minutes are one unit, not none', () => {
    expect(
      poolUnits([
        { code: '97153', minutes: 7 },
        { code: '97155', minutes: 7 },
      ]),
    ).toEqual({ '97153': 1, '97155': 0 });
  });

  it.each([
    [
      { '97153': 33, '97155': 7 },
      { '97153': 2, '97155': 1 },
    ],
    [
      { '97153': 18, '97155': 13, '97156': 10, '97151': 8 },
      { '97153': 1, '97155': 1, '97156': 1, '97151': 0 },
    ],
    [
      { '97153': 20, '97155': 20 },
      { '97153': 2, '97155': 1 },
    ],
    [{ '97153': 0 }, { '97153': 0 }],
  ])('gives the rest to the codes with the most minutes over: %j', (minutes, units) => {
    expect(poolUnits(Object.entries(minutes).map(([code, each]) => ({ code, minutes: each })))).toEqual(
      units,
    );
  });

  it('never loses or invents a unit', () => {
    const services = fc.array(
      fc.record({
        code: fc.constantFrom('97153', '97155', '97156'),
        minutes: fc.integer({ min: 0, max: 600 }),
      }),
      { maxLength: 8 },
    );
    fc.assert(
      fc.property(services, (day) => {
        const units = Object.values(poolUnits(day)).reduce((sum, each) => sum + each, 0);
        expect(units).toBe(billableUnits(day.reduce((sum, { minutes }) => sum + minutes, 0)));
      }),
    );
  });
});

describe('the units of a day', () => {
  it('are each client’s, each therapist’s and each day’s own', () => {
    const visit = (clientId: string, therapistId = 't', date = '2026-12-01') => ({
      ...{ sessionId: [clientId, therapistId, date].join(), clientId, therapistId, date },
      ...{ code: '97153', minutes: 7, startTime: new Date('2026-12-01T18:00:00Z') },
      rounding: 'midpoint_daily' as const,
    });
    const others = [visit('a'), visit('b'), visit('a', 'u'), visit('a', 't', '2026-12-02')];
    expect([...dayUnits(others).values()]).toEqual([0, 0, 0, 0]);
    expect([...dayUnits([visit('a'), { ...visit('a'), sessionId: 'again' }]).values()]).toEqual([0, 1]);
  });
});

describe('the service codes', () => {
  it('are the ten of adaptive behavior', () => {
    expect(SERVICE_CODES.map(({ code }) => code)).toEqual([
      '97151',
      '97152',
      '97153',
      '97154',
      '97155',
      '97156',
      '97157',
      '97158',
      '0362T',
      '0373T',
    ]);
    expect(serviceCode('0362t')?.code).toBe('0362T');
    expect(serviceCode('toString')).toBeNull();
  });

  it('begin and end', () => {
    expect(serviceCode('0373T', { date: '2026-12-31' })?.validTo).toBe('2026-12-31');
    expect(serviceCode('0373T', { date: '2027-01-01' })).toBeNull();
    expect(serviceCode('97153', { date: '2018-12-31' })).toBeNull();
    expect(serviceCode('97153', { date: '2019-01-01' })?.code).toBe('97153');
  });

  const own: ServiceCode = {
    ...{ code: 'H2019', description: 'Skills training', levels: ['technician'], unitMinutes: 30 },
    ...{ clients: { min: 1, max: 1 }, sessionType: 'skills', validFrom: '2026-01-01', validTo: '2026-06-30' },
  };
  const renamed: ServiceCode = {
    ...own,
    description: 'Skills',
    unitMinutes: 15,
    validFrom: '2026-07-01',
    validTo: null,
  };

  it('are the organization’s own too, by version', () => {
    const ownCodes = [renamed, own];
    expect(serviceCode('h2019', { ownCodes })?.description).toBe('Skills');
    expect(serviceCode('H2019', { ownCodes, date: '2026-06-30' })?.description).toBe('Skills training');
    const half = { start_time: '2026-06-30T10:00:00-07:00', end_time: '2026-06-30T11:00:00-07:00' };
    expect(deriveCptMetadata({ session: { ...half, session_type: 'skills' }, ownCodes })).toMatchObject({
      ...{ code: 'H2019', units: 2 },
    });
    expect(
      deriveCptMetadata({ session: { ...half, session_type: 'skills' }, ownCodes, date: '2026-07-01' }).units,
    ).toBe(4);
  });

  it('are not paid for everywhere', () => {
    const rules: PayerRules = {
      codes: { '97153': { excludedPlaces: ['telehealth', 'school'] }, '97154': { isCovered: false } },
    };
    expect(coverageGap('97154', 'clinic', rules)).toBe('code');
    expect(coverageGap('97153', 'Tele-health', rules)).toBe('place');
    expect(coverageGap('97153', ' School', rules)).toBe('place');
    expect(coverageGap('97153', 'clinic', rules)).toBeNull();
    expect(coverageGap('97156', 'virtual', rules)).toBeNull();
    expect(coverageGap('97153', null, rules)).toBeNull();
  });

  it.each([
    ['RBT', 'technician'],
    ['BCaBA', 'assistant'],
    ['bcba', 'qhp'],
    ['BCBA-D', 'qhp'],
    ['PhD', null],
  ])('%s is %s', (credential, level) => expect(providerLevel(credential)).toBe(level));
});

describe('a session to be booked', () => {
  const whole = { ...session(), therapist_id: 't', client_id: 'c' };
  const refusal = (draft: unknown, service = {}) => {
    try {
      assertSessionCompleteness(draft as typeof whole, service);
    } catch (error) {
      if (!(error instanceof SessionsApiError)) throw error;
      return { code: error.code, paths: error.issues.map(({ path }) => path) };
    }
    return 'complete';
  };

  it('is complete with therapist, client, start and end', () => expect(refusal(whole)).toBe('complete'));

  it('names everything that is missing', () => {
    expect(refusal(null)).toEqual({
      code: 'MISSING_FIELDS',
      paths: ['session.therapist_id', 'session.client_id', 'session.start_time', 'session.end_time'],
    });
    expect(refusal({ ...whole, client_id: ' ' })).toMatchObject({ paths: ['session.client_id'] });
  });

  it('has instants for times, the end after the start, by 12 hours at most', () => {
    expect(refusal({ ...whole, end_time: '2026-12-02T06:00:00Z' })).toBe('complete');
    expect(refusal({ ...whole, start_time: '10:00' })).toEqual({
      code: 'VALIDATION_FAILED',
      paths: ['session.start_time'],
    });
    expect(refusal({ ...whole, end_time: whole.start_time })).toEqual({
      code: 'INVALID_RANGE',
      paths: ['session.end_time'],
    });
    expect(refusal({ ...whole, end_time: '2026-12-02T06:00:00Z' })).toBe('complete');
    expect(refusal({ ...whole, end_time: '2026-12-02T06:00:01Z' })).toMatchObject({
      code: 'VALIDATION_FAILED',
    });
  });

  it('is not rendered by a technician where a qualified professional must', () => {
    expect(refusal(whole, { cptCode: '97155', credential: 'RBT' })).toMatchObject({ paths: ['cpt.code'] });
    expect(refusal(whole, { cptCode: '97155', credential: 'BCBA' })).toBe('complete');
    expect(refusal(whole, { cptCode: '97153', credential: 'RBT' })).toBe('complete');
  });

  it('has a code that is valid on its day', () => {
    expect(refusal(whole, { cptCode: '0373T', date: '2026-12-31' })).toBe('complete');
    expect(refusal(whole, { cptCode: '0373T', date: '2027-01-01' })).toMatchObject({ paths: ['cpt.code'] });
  });

  it.each([
    ['97154', 1, false],
    ['97154', 2, true],
    ['97154', 8, true],
    ['97154', 9, false],
    ['97153', 1, true],
    ['97153', 2, false],
    ['XYZ12', 5, false],
    ['XYZ12', 1, false],
  ])('%s with %i clients', (cptCode, clientCount, fine) => {
    expect(refusal(whole, { cptCode, clientCount }) === 'complete').toBe(fine);
  });
});
