/** A stack of a test's own, with the seed's people: for what a shared one cannot do, such as changing secrets. */
import pg from 'pg';
import type { Stack } from '../../local/stack.ts';

/** What came back, as text and as JSON. */
export type Answer = {
  status: number;
  text: string;
  // biome-ignore lint/suspicious/noExplicitAny: tests assert the shape they expect of each answer
  body: any;
};

/** Calls made by the seed's people, each answer kept. */
export class Seeded {
  readonly answers: string[] = [];
  readonly stack: Stack;
  private readonly tokens = new Map<string, string>();

  constructor(stack: Stack) {
    this.stack = stack;
  }

  /** The access token of a seed user, e.g. `rbt@brightpath.test`. */
  async token(email: string): Promise<string> {
    const known = this.tokens.get(email);
    if (known) return known;
    const response = await fetch(`${this.stack.apiUrl}/auth/v1/token?grant_type=password`, {
      method: 'POST',
      headers: { apikey: this.stack.publishableKey, 'content-type': 'application/json' },
      body: JSON.stringify({ email, password: 'demo-password-1234' }),
    });
    const token = ((await response.json()) as { access_token: string }).access_token;
    this.tokens.set(email, token);
    return token;
  }

  /** One request; `path` begins after the origin. */
  async request(
    email: string,
    path: string,
    init: RequestInit & { headers?: Record<string, string> } = {},
  ): Promise<Answer> {
    const response = await fetch(`${this.stack.apiUrl}${path}`, {
      ...init,
      headers: {
        apikey: this.stack.publishableKey,
        authorization: `Bearer ${await this.token(email)}`,
        'content-type': 'application/json',
        ...init.headers,
      },
    });
    const text = await response.text();
    this.answers.push(`${[...response.headers].join('\n')}\n${text}`);
    let body: unknown = {};
    try {
      body = JSON.parse(text);
    } catch {
      // Not JSON: the text stands for itself.
    }
    return { status: response.status, text, body };
  }

  /** Calls an edge function. A string body is sent as it is. */
  call(email: string, name: string, body: unknown, headers: Record<string, string> = {}): Promise<Answer> {
    return this.request(email, `/functions/v1/${name}`, {
      method: 'POST',
      headers,
      body: typeof body === 'string' ? body : JSON.stringify(body),
    });
  }

  /** Runs SQL as a role of the database, `postgres` unless named. */
  async sql<Row extends pg.QueryResultRow>(
    text: string,
    parameters: unknown[] = [],
    role = 'postgres',
  ): Promise<Row[]> {
    const client = new pg.Client({ connectionString: this.stack.dbUrl.replace('//postgres:', `//${role}:`) });
    await client.connect();
    try {
      return (await client.query<Row>(text, parameters)).rows;
    } finally {
      await client.end();
    }
  }

  /** Past sessions of a seed user, newest first, each completed: one that is still in progress has no end to sign. */
  async pastSessions(email: string): Promise<{ id: string; client_id: string }[]> {
    return this.sql(
      `select session.id, session.client_id
        from public.sessions as session join auth.users as person on person.id = session.therapist_id
        where person.email = $1 and session.status = 'completed'
        order by session.start_time desc`,
      [email],
    );
  }
}
