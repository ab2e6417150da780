import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  canOpen,
  findGuardForPath,
  hasRoleAccess,
  listGuardedPaths,
  requiresPermission,
  routeGuards,
} from '../../src/lib/index.ts';

const guardOf = (path: string) => findGuardForPath(path)?.path ?? null;

describe('the guard of a path', () => {
  it.each([
    ['/', '/'],
    ['/schedule', '/schedule'],
    ['/clients', '/clients'],
    ['/clients/7b1c', '/clients/:clientId'],
    ['/therapists', '/therapists'],
    ['/therapists/7b1c', '/therapists/:therapistId'],
    ['/schedule/', '/schedule'],
    ['/schedule?week=48', '/schedule'],
    ['/clients/7b1c/?tab=notes#top', '/clients/:clientId'],
    ['/clients/J%C3%B6rg', '/clients/:clientId'],
    ['//schedule', '/schedule'],
    ['', null],
    ['schedule', null],
    ['/settings', null],
    ['/clients/7b1c/notes', null],
    ['https://app.test/schedule', null],
  ])('%s is %s', (path, guard) => expect(guardOf(path)).toBe(guard));

  it.each([
    '/therapists/new',
    '/therapists/new/',
    '/therapists//new',
    '/therapists/new?x=1',
    '/therapists/new#x',
    '/therapists/NEW',
    '/Therapists/New',
    '/therapists/%6eew',
    '/therapists/n%65w/',
  ])('%s is the admins’ page however it is written', (path) => {
    expect(guardOf(path)).toBe('/therapists/new');
    expect(hasRoleAccess(path, 'therapist')).toBe(false);
    expect(hasRoleAccess(path, 'admin')).toBe(true);
  });

  it.each(['/clients/new', '/clients/NEW/', '/clients/n%65w?from=list'])(
    '%s is no client’s page, and not for therapists',
    (path) => {
      expect(guardOf(path)).toBe('/clients/new');
      expect(hasRoleAccess(path, 'therapist')).toBe(false);
      expect(hasRoleAccess(path, 'admin')).toBe(true);
    },
  );

  it('of a page that makes something new is never that of a thing with the id "new"', () => {
    for (const guard of routeGuards) {
      const path = guard.path.replace(/:[^/]+/g, 'new');
      expect(findGuardForPath(path)?.path ?? path).toBe(path);
    }
  });

  it.each([
    '/therapists%2Fnew',
    '/therapists/new%2F',
    '/therapists/x%2F..%2Fnew',
    '/therapists/%252Fnew',
    '/therapists/x/../new',
    '/therapists/%2e%2e/clients',
    '/therapists/.',
    '/therapists\\new',
    '/therapists/%5Cnew',
    '/therapists/new%00',
    '/therapists/%0Anew',
    '/therapists/%zz',
    '/therapists/%',
  ])('%s could be read in two ways and is nobody’s', (path) => {
    expect(guardOf(path)).toBeNull();
    expect(hasRoleAccess(path, 'super_admin')).toBe(false);
  });

  it('is found for anything at all without an error, and never lets a therapist onto an admins’ page', () => {
    const piece = fc.constantFrom(
      '/',
      '//',
      'therapists',
      'new',
      'NEW',
      '%2F',
      '%6e',
      '..',
      '.',
      '?',
      '#',
      '%',
      '\\',
      ':',
      'x',
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 10 }), (pieces) => {
        const path = pieces.join('');
        if (!hasRoleAccess(path, 'therapist')) return;
        // What a browser makes of the path leads nowhere else.
        const seen = new URL(path.replace(/^\/+/, '/'), 'https://app.test').pathname;
        const segments = decodeURIComponent(seen).toLowerCase().split('/').filter(Boolean);
        expect(segments).not.toEqual(['therapists', 'new']);
        expect(segments).not.toEqual(['therapists']);
      }),
      { numRuns: 5000 },
    );
    fc.assert(fc.property(fc.string(), (path) => void findGuardForPath(path)));
  });
});

describe('access', () => {
  it.each([
    ['/', 'client therapist admin super_admin'],
    ['/schedule', 'client therapist admin super_admin'],
    ['/clients', 'therapist admin super_admin'],
    ['/clients/1', 'therapist admin super_admin'],
    ['/therapists', 'admin super_admin'],
    ['/therapists/1', 'therapist admin super_admin'],
    ['/therapists/new', 'admin super_admin'],
    ['/reports', 'admin super_admin'],
    ['/unknown', ''],
  ])('to %s: %s', (path, allowed) => {
    const roles = ['client', 'therapist', 'admin', 'super_admin', 'owner', '', null, undefined];
    expect(roles.filter((role) => hasRoleAccess(path, role)).join(' ')).toBe(allowed);
  });

  it('to clients needs view_clients beside the role', () => {
    expect(requiresPermission('/clients', 'view_clients')).toBe(true);
    expect(requiresPermission('/clients/1', 'view_clients')).toBe(true);
    expect(requiresPermission('/schedule', 'view_clients')).toBe(false);
    expect(requiresPermission('/unknown', 'anything')).toBe(true);
    expect(canOpen('/clients', { role: 'therapist', permissions: [] })).toBe(false);
    expect(canOpen('/clients', { role: 'therapist', permissions: ['view_clients'] })).toBe(true);
    expect(canOpen('/clients', { role: 'client', permissions: ['view_clients'] })).toBe(false);
    expect(canOpen('/unknown', { role: 'super_admin', permissions: ['view_clients'] })).toBe(false);
  });

  it('can be asked of a guard itself', () => {
    const guard = routeGuards[0];
    expect(hasRoleAccess(guard ?? null, 'client')).toBe(true);
    expect(hasRoleAccess(null, 'super_admin')).toBe(false);
    expect(requiresPermission(null, 'view_clients')).toBe(true);
  });

  it('is listed by path', () => expect(listGuardedPaths()).toHaveLength(routeGuards.length));
});
