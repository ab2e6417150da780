/**
 * What the local stack is told: `supabase/config.toml`, which `supabase start` reads too, and the constants every local
 * Supabase project shares. Nothing here is secret: keys and passwords are the CLI's public development values.
 */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parse } from 'smol-toml';

/** The repository's root folder, absolute. */
export const projectRoot = fileURLToPath(new URL('..', import.meta.url)).replace(/[\\/]$/, '');

const require = createRequire(import.meta.url);

/** Folder of an installed package's entry file. (`import.meta.resolve` does not exist inside vitest.) */
export function packageFolder(specifier: string): string {
  return dirname(require.resolve(specifier));
}

/** The parts of `supabase/config.toml` the stack uses; names as in the file. */
export interface ProjectConfig {
  project_id: string;
  api: { port: number; schemas: string[]; extra_search_path: string[]; max_rows: number };
  db: { port: number; major_version: number; seed: { enabled: boolean; sql_paths: string[] } };
  auth: {
    site_url: string;
    jwt_expiry: number;
    enable_signup: boolean;
    minimum_password_length: number;
    enable_refresh_token_rotation: boolean;
    refresh_token_reuse_interval: number;
    sessions?: { timebox?: string; inactivity_timeout?: string };
    hook?: { custom_access_token?: { enabled: boolean; uri: string } };
  };
  functions: Record<string, { enabled?: boolean; entrypoint?: string; import_map?: string }>;
}

/** Reads a project's `supabase/config.toml`. Missing sections get the CLI's defaults. */
export function readConfig(root: string = projectRoot): ProjectConfig {
  const file = parse(
    readFileSync(`${root}/supabase/config.toml`, 'utf8'),
  ) as unknown as Partial<ProjectConfig>;
  return {
    project_id: file.project_id ?? 'local',
    api: {
      port: 54321,
      schemas: ['public'],
      extra_search_path: ['public', 'extensions'],
      max_rows: 1000,
      ...file.api,
    },
    db: {
      ...{ port: 54322, major_version: 17 },
      ...file.db,
      seed: { enabled: true, sql_paths: ['./seed.sql'], ...file.db?.seed },
    },
    auth: {
      site_url: 'http://127.0.0.1:3000',
      jwt_expiry: 3600,
      enable_signup: true,
      minimum_password_length: 6,
      enable_refresh_token_rotation: true,
      refresh_token_reuse_interval: 10,
      ...file.auth,
    },
    functions: file.functions ?? {},
  };
}

/** The keys every local Supabase project has; the CLI prints the same ones after `supabase start`. */
export const keys = {
  /** Sent as `apikey` by browsers: the caller is `anon`, or the user named by the bearer token. */
  publishable: 'sb_publishable_ACJWlzQHlZjBrEguHvfOxg_3BJgxAaH',
  /** Sent as `apikey` by trusted servers: the caller is `service_role`. */
  secret: 'sb_secret_N7UND0UgjKTVK-Uodkm0Hg_xSvEMPvz',
  /** HS256 key that signs access tokens. */
  jwtSecret: 'super-secret-jwt-token-with-at-least-32-characters-long',
  /** Key id in the header of every access token. */
  jwtKeyId: 'b81269f1-21d8-4f2e-b719-c2240a840d90',
} as const;

/** Password of every login role of the local database, as under `supabase start`. */
export const databasePassword = 'postgres';

/**
 * Connection string for a role of the local database.
 * @param port where the server listens on 127.0.0.1
 * @param role a login role, `postgres` unless named
 */
export function databaseUrl(port: number, role = 'postgres'): string {
  return `postgresql://${role}:${databasePassword}@127.0.0.1:${port}/postgres`;
}
