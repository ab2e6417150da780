import { useState } from 'react';
import { apiUrl } from './queries.ts';
import { signIn } from './session.tsx';
import { Busy, ErrorLine, useAction } from './ui.tsx';

/** People of the development seed; shown on a development stack only. */
const demo = [
  'admin@brightpath.test',
  'bcba@brightpath.test',
  'rbt@brightpath.test',
  'parent@brightpath.test',
  'admin@harbor.test',
];
const isDevelopment = ['127.0.0.1', 'localhost'].includes(new URL(apiUrl).hostname);

export function SignIn() {
  const [email, setEmail] = useState('');
  const [password, setPassword] = useState('');
  const [wrong, setWrong] = useState<{ text: string } | null>(null);
  const { busy, run } = useAction();
  return (
    <main className="page sign-in">
      <h1>Clinic schedule</h1>
      <p className="muted">Sign in to see and book sessions.</p>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void run(async () => {
            setWrong(null);
            const text = await signIn(email, password);
            if (text) setWrong({ text });
          });
        }}
      >
        <label>
          Email
          <input
            name="email"
            type="email"
            autoComplete="username"
            required
            value={email}
            onChange={(event) => setEmail(event.target.value)}
          />
        </label>
        <label>
          Password
          <input
            name="password"
            type="password"
            autoComplete="current-password"
            required
            value={password}
            onChange={(event) => setPassword(event.target.value)}
          />
        </label>
        {wrong && <ErrorLine key={wrong.text}>{wrong.text}</ErrorLine>}
        <div className="row">
          <Busy busy={busy} busyLabel="Signing in…" className="primary">
            Sign in
          </Busy>
        </div>
      </form>
      {isDevelopment && (
        <section aria-label="Demo accounts">
          <h2>Demo accounts</h2>
          <p className="muted">On a development stack only. Choose one, then sign in.</p>
          <div className="chips">
            {demo.map((account) => (
              <button
                key={account}
                type="button"
                onClick={() => {
                  setEmail(account);
                  setPassword('demo-password-1234');
                }}
              >
                {account.replace('@brightpath.test', '').replace('@harbor.test', ' of the other clinic')}
              </button>
            ))}
          </div>
        </section>
      )}
    </main>
  );
}
