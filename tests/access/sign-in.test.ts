/** The settings of Auth: nobody lets herself in, passwords are long, sessions end, a second factor can be had. */
import { readFile } from 'node:fs/promises';
import { parse } from 'smol-toml';
import { expect, it } from 'vitest';
import { addUser, openClinic, signIn } from '../functions/clinic.ts';
import { withConnection } from '../setup/db.ts';
import { stack } from '../setup/stack.ts';

const { auth, api } = parse(
  await readFile(new URL('../../supabase/config.toml', import.meta.url), 'utf8'),
) as Record<string, Record<string, unknown>>;

function post(path: string, body: object, token?: string): Promise<Response> {
  return fetch(`${stack.apiUrl}/auth/v1/${path}`, {
    method: path === 'user' ? 'PUT' : 'POST',
    headers: {
      apikey: stack.publishableKey,
      'content-type': 'application/json',
      ...(token && { authorization: `Bearer ${token}` }),
    },
    body: JSON.stringify(body),
  });
}

it('the settings are the ones a clinic needs', () => {
  expect(auth).toMatchObject({
    enable_signup: false,
    enable_anonymous_sign_ins: false,
    enable_refresh_token_rotation: true,
    minimum_password_length: 12,
    password_requirements: 'letters_digits',
    jwt_expiry: 3600,
    sessions: { timebox: '12h', inactivity_timeout: '1h' },
    mfa: { totp: { enroll_enabled: true, verify_enabled: true } },
    email: { secure_password_change: true, double_confirm_changes: true, enable_confirmations: true },
    hook: {
      custom_access_token: {
        enabled: true,
        uri: 'pg-functions://postgres/private/custom_access_token_hook',
      },
    },
  });
  expect(api?.max_rows).toBe(1000);
});

it('nobody signs up by herself', async () => {
  const email = `somebody-${Date.now()}@example.test`;
  const answer = await post('signup', { email, password: 'a-long-password-1234' });
  expect(answer.status).toBeGreaterThanOrEqual(400);
  expect(answer.status).toBeLessThan(500);
  const { rows } = await withConnection((client) =>
    client.query('select id from auth.users where email = $1', [email]),
  );
  expect(rows).toEqual([]);
});

it('a wrong password and an unknown address get the same answer', async () => {
  const { superAdmin } = await openClinic();
  const answers = await Promise.all(
    [superAdmin.email, 'nobody-at-all@example.test'].map(async (email) => {
      const answer = await post('token?grant_type=password', { email, password: 'not-the-password-1' });
      const { error_code, msg } = (await answer.json()) as Record<string, unknown>;
      return { status: answer.status, error_code, msg };
    }),
  );
  expect(answers[0]).toEqual(answers[1]);
  expect(answers[0]?.status).toBe(400);
});

it('a token names the organization and the role beside the role of the database, and no more', async () => {
  const { rbt, organizationId } = await openClinic();
  const claims = (token: string) =>
    JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()) as Record<string, unknown>;
  expect(claims(rbt.token)).toMatchObject({
    sub: rbt.id,
    role: 'authenticated',
    aud: 'authenticated',
    org_id: organizationId,
    user_role: 'therapist',
  });
  const outsider = claims((await signIn(await addUser('outsider'))).token);
  expect(outsider).toMatchObject({ role: 'authenticated' });
  expect(outsider).not.toHaveProperty('org_id');
  expect(outsider).not.toHaveProperty('user_role');
});

it('what a user writes about herself changes nothing in her token', async () => {
  const { rbt, organizationId } = await openClinic();
  await withConnection((client) =>
    client.query('update auth.users set raw_user_meta_data = $2 where id = $1', [
      rbt.id,
      { org_id: rbt.id, user_role: 'super_admin', role: 'service_role' },
    ]),
  );
  const { token } = await signIn(rbt);
  const claims = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString());
  expect(claims).toMatchObject({ role: 'authenticated', org_id: organizationId, user_role: 'therapist' });
});
