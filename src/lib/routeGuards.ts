/** A role within an organization, as in `memberships.role` and the JWT's `user_role`. */
export type Role = 'client' | 'therapist' | 'admin' | 'super_admin';

/** Who may open a route, and the policies that keep the promise in the database. */
export interface RouteGuard {
  /** The route; a segment that begins with a colon stands for any one segment. */
  readonly path: string;
  readonly allowedRoles: readonly Role[];
  /** Permissions needed beside the role. */
  readonly requiredPermissions: readonly string[];
  /** The row-level policies the route's reads rely on, as `schema.table: policy`. */
  readonly supabasePolicies: readonly string[];
}

const SESSIONS = 'public.sessions: sessions_scoped_access';
const CLIENTS = 'public.clients: role_scoped_select';
const THERAPISTS = 'public.therapists: role_scoped_select';

const EVERYBODY = ['client', 'therapist', 'admin', 'super_admin'] as const;
const STAFF = ['therapist', 'admin', 'super_admin'] as const;
const ADMINS = ['admin', 'super_admin'] as const;

/**
 * The guard matrix: which route is for whom. A guard decides what the app shows; what a user can read is decided by the
 * policies it names.
 *
 * @example
 * ```ts
 * routeGuards.filter(({ allowedRoles }) => allowedRoles.includes('client')).map(({ path }) => path); // ['/', '/schedule']
 * ```
 */
export const routeGuards: readonly RouteGuard[] = [
  { path: '/', allowedRoles: EVERYBODY, requiredPermissions: [], supabasePolicies: [SESSIONS] },
  { path: '/schedule', allowedRoles: EVERYBODY, requiredPermissions: [], supabasePolicies: [SESSIONS] },
  {
    path: '/clients',
    allowedRoles: STAFF,
    requiredPermissions: ['view_clients'],
    supabasePolicies: [CLIENTS],
  },
  {
    path: '/clients/:clientId',
    allowedRoles: STAFF,
    requiredPermissions: ['view_clients'],
    supabasePolicies: [CLIENTS, SESSIONS],
  },
  { path: '/clients/new', allowedRoles: ADMINS, requiredPermissions: [], supabasePolicies: [CLIENTS] },
  { path: '/therapists', allowedRoles: ADMINS, requiredPermissions: [], supabasePolicies: [THERAPISTS] },
  {
    path: '/therapists/:therapistId',
    allowedRoles: STAFF,
    requiredPermissions: [],
    supabasePolicies: [THERAPISTS],
  },
  { path: '/therapists/new', allowedRoles: ADMINS, requiredPermissions: [], supabasePolicies: [THERAPISTS] },
  { path: '/reports', allowedRoles: ADMINS, requiredPermissions: [], supabasePolicies: [SESSIONS, CLIENTS] },
];

/** The segment of the pages that make something new. It is never an id, so that a page yet unknown opens for nobody. */
const NEW = 'new';

/**
 * The guard of a path. Query, fragment, trailing and double slashes do not matter, nor does case, since routers differ
 * on them. Fixed segments beat parameters wherever they stand in the matrix: `/therapists/new` is never a therapist's
 * profile. A path no guard knows, and one that a router could read otherwise than this (an encoded slash, a dot
 * segment, a malformed escape), has none: deny it.
 *
 * @param path - a path such as `/clients/42?tab=notes`
 * @returns the guard, or null
 * @example
 * ```ts
 * findGuardForPath('/therapists/new/')?.allowedRoles; // ['admin', 'super_admin']
 * findGuardForPath('/therapists%2Fnew'); // null
 * ```
 */
export function findGuardForPath(path: string): RouteGuard | null {
  const segments = segmentsOf(path);
  if (!segments) return null;
  const candidates = routeGuards.filter((guard) => {
    const pattern = patternOf(guard);
    return (
      pattern.length === segments.length &&
      pattern.every((part, at) => (isParameter(part) ? segments[at] !== NEW : part === segments[at]))
    );
  });
  return candidates.sort(bySpecificity)[0] ?? null;
}

/**
 * Whether a role may open a path. Unknown paths and roles may not.
 *
 * @param target - a path or a guard
 * @param role - the user's role, e.g. the JWT's `user_role`
 * @returns `true` when the guard allows the role
 * @example
 * ```ts
 * hasRoleAccess('/therapists/new', 'therapist'); // false
 * ```
 */
export function hasRoleAccess(target: string | RouteGuard | null, role: string | null | undefined): boolean {
  const guard = guardOf(target);
  return guard?.allowedRoles.some((allowed) => allowed === role) ?? false;
}

/**
 * Whether a path needs a permission beside the role. An unknown path counts as needing every permission.
 *
 * @param target - a path or a guard
 * @param permission - the permission, such as `view_clients`
 * @returns `true` when it is needed
 * @example
 * ```ts
 * requiresPermission('/clients/42', 'view_clients'); // true
 * requiresPermission('/schedule', 'view_clients'); // false
 * ```
 */
export function requiresPermission(target: string | RouteGuard | null, permission: string): boolean {
  const guard = guardOf(target);
  return guard === null || guard.requiredPermissions.includes(permission);
}

/**
 * Whether a user may open a path: the role is allowed and every permission the path needs is held.
 *
 * @param target - a path or a guard
 * @param user - role and permissions of the user's membership
 * @returns `true` when nothing is missing
 * @example
 * ```ts
 * canOpen('/clients', { role: 'therapist', permissions: ['view_clients'] }); // true
 * ```
 */
export function canOpen(
  target: string | RouteGuard | null,
  user: { readonly role: string | null | undefined; readonly permissions: readonly string[] },
): boolean {
  const guard = guardOf(target);
  if (!guard || !hasRoleAccess(guard, user.role)) return false;
  return guard.requiredPermissions.every((permission) => user.permissions.includes(permission));
}

/**
 * The guarded paths, as patterns, in the order of the matrix.
 *
 * @returns patterns such as `/clients/:clientId`
 * @example
 * ```ts
 * listGuardedPaths().includes('/clients/:clientId'); // true
 * ```
 */
export function listGuardedPaths(): string[] {
  return routeGuards.map(({ path }) => path);
}

function guardOf(target: string | RouteGuard | null): RouteGuard | null {
  return typeof target === 'string' ? findGuardForPath(target) : target;
}

function patternOf(guard: RouteGuard): string[] {
  return guard.path.split('/').filter((part) => part !== '');
}

function isParameter(part: string): boolean {
  return part.startsWith(':');
}

/** At the first segment where two patterns differ in kind, the fixed one comes first. */
function bySpecificity(a: RouteGuard, b: RouteGuard): number {
  const [left, right] = [patternOf(a), patternOf(b)];
  const at = left.findIndex((part, index) => isParameter(part) !== isParameter(right[index] ?? ''));
  return at < 0 ? 0 : isParameter(left[at] ?? '') ? 1 : -1;
}

/** The decoded segments in lower case, or null for a path that could be read in two ways. */
function segmentsOf(path: string): string[] | null {
  if (typeof path !== 'string' || !path.startsWith('/') || path.length > 2048) return null;
  const [bare = ''] = path.split(/[?#]/, 1);
  const segments: string[] = [];
  for (const raw of bare.split('/')) {
    if (raw === '') continue;
    const segment = decode(raw);
    if (segment === null || segment === '.' || segment === '..' || UNSAFE.test(segment)) return null;
    segments.push(segment.toLowerCase());
  }
  return segments;
}

/** Slashes of either kind, control characters, and what is still an escape after decoding once. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const UNSAFE = /[/\\\u0000-\u001f\u007f]|%[0-9a-f]{2}/i;

function decode(segment: string): string | null {
  try {
    return decodeURIComponent(segment);
  } catch {
    return null;
  }
}
