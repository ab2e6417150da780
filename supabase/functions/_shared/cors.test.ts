import { describe, expect, it } from 'vitest';
import { isAllowedOrigin } from './cors.ts';

describe('an origin', () => {
  it.each(['http://localhost:5173', 'https://localhost', 'http://127.0.0.1:3000', 'http://[::1]:8080'])(
    'on the developer’s machine is allowed while no list is set: %s',
    (origin) => expect(isAllowedOrigin(origin, undefined)).toBe(true),
  );

  it.each([
    'https://evil.example',
    'http://localhost.evil.example',
    'http://127.0.0.1.evil.example',
    'null',
    '',
  ])('elsewhere is not: %j', (origin) => {
    expect(isAllowedOrigin(origin, undefined)).toBe(false);
    expect(isAllowedOrigin(origin, ' ')).toBe(false);
  });

  it('must be on the list, exactly, once there is one', () => {
    const list = 'https://app.example, https://admin.example/';
    expect(isAllowedOrigin('https://app.example', list)).toBe(true);
    expect(isAllowedOrigin('https://admin.example', list)).toBe(true);
    for (const origin of [
      'http://app.example',
      'https://app.example:8443',
      'https://app.example.evil.example',
      'http://localhost:5173',
      'null',
    ]) {
      expect(isAllowedOrigin(origin, list)).toBe(false);
    }
  });
});
