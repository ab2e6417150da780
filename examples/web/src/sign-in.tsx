import { useState } from 'react';
import { useSession } from 'therapist-sessions/react';
import { apiUrl } from './api.ts';
import { Button, ErrorLine, Field, Form, Layer } from './ui.tsx';

/** People of the development seed; shown on a development stack only. */
const staff = ['admin', 'super', 'bcba', 'rbt', 'parent'].map((name) => `${name}@brightpath.test`);
const demo = [...staff, 'admin@harbor.test'];
const isDevelopment = ['127.0.0.1', 'localhost'].includes(new URL(apiUrl).hostname);

/** A form that signs in. */
function Credentials({ email, demo }: { email?: string; demo?: string }) {
  const { signIn } = useSession();
  const [wrong, setWrong] = useState<{ text: string } | null>(null);
  return (
    <Form
      submit="Sign in"
      saying="Signing in…"
      onSubmit={async ({ email: typed = '', password = '' }) => {
        setWrong(null);
        const text = await signIn(email ?? typed, password);
        if (text) setWrong({ text });
      }}
    >
      {email === undefined && (
        <Field label="Email" name="email" type="email" autoComplete="username" required defaultValue={demo} />
      )}
      <Field
        label={email ? `Password of ${email}` : 'Password'}
        name="password"
        type="password"
        autoComplete="current-password"
        defaultValue={demo && 'demo-password-1234'}
        required
      />
      {wrong && <ErrorLine key={wrong.text}>{wrong.text}</ErrorLine>}
    </Form>
  );
}

export function SignIn() {
  const [chosen, choose] = useState<string>();
  return (
    <main className="page sign-in">
      <h1>Clinic schedule</h1>
      <p className="muted">Sign in to see and book sessions.</p>
      <Credentials key={chosen} demo={chosen} />
      {isDevelopment && (
        <section aria-label="Demo accounts">
          <h2>Demo accounts</h2>
          <p className="muted">On a development stack only. Choose one, then sign in.</p>
          <div className="chips">
            {demo.map((email) => (
              <Button key={email} label={email.replace('.test', '')} press={() => choose(email)} />
            ))}
          </div>
        </section>
      )}
    </main>
  );
}

/** Over the page, so that nothing typed is lost. */
export function SignInAgain({ email }: { email: string }) {
  const { signOut } = useSession();
  return (
    <Layer isModal title="Please sign in again" onClose={signOut}>
      <p>What you typed is still here.</p>
      <Credentials email={email} />
    </Layer>
  );
}
