/** The same few people, times and ids in all examples of the API description. */

export const ids = {
  therapist: '5a1e0000-0000-4000-8000-000000000003',
  client: 'c11e0000-0000-4000-8000-000000000001',
  otherClient: 'c11e0000-0000-4000-8000-000000000002',
  session: '5e550000-0000-4000-8000-000000000001',
  series: '5e110000-0000-4000-8000-000000000001',
  organization: '0a900000-0000-4000-8000-000000000001',
  batch: '0b7c8f0e-7a51-4d53-9f0e-1f0a0e8c7d11',
  hold: '3f2a6c1d-2c5e-4a8f-8b1d-9a6e5d4c3b21',
  holdKey: 'e4d909c2-90d0-4b1c-8a36-6a1a7fd0c601',
  request: '1b4e28ba-2fa1-41d2-883f-0016d3cca427',
} as const;

export const start = '2026-11-30T18:00:00.000Z';
export const end = '2026-11-30T20:00:00.000Z';
export const zone = 'America/Los_Angeles';
export const offsets = { start_time_offset_minutes: -480, end_time_offset_minutes: -480 } as const;
export const window = { start_time: start, end_time: end, ...offsets } as const;
export const people = { therapist_id: ids.therapist, client_id: ids.client } as const;
