import { useState } from 'react';
import { useSession } from 'therapist-sessions/react';
import { apiUrl } from './api.ts';
import { Button, ErrorLine, Field, Form, Layer } from './ui.tsx';

/** People of the development seed; shown on a development stack only. */
const demo = {
  admin: 'admin@brightpath.test',
  bcba: 'bcba@brightpath.test',
  rbt: 'rbt@brightpath.test',
  parent: 'parent@brightpath.test',
  'admin of the other clinic': 'admin@harbor.test',
};
const isDevelopment = ['127.0.0.1', 'localhost'].includes(new URL(apiUrl).hostname);

function wordsFor(status: number): string {
  if (status === 400) return 'Email or password is not right.';
  if (status === 429) return 'That was too often. Try again in a minute.';
  return 'Nobody can sign in right now. Please try again in a moment.';
}

/** A form that signs in. */
function Credentials({ email }: { email?: string }) {
  const { signIn } = useSession();
  const [wrong, setWrong] = useState<{ text: string } | null>(null);
  return (
    <Form
      submit="Sign in"
      saying="Signing in…"
      onSubmit={async ({ email: typed = '', password = '' }) => {
        setWrong(null);
        const status = await signIn(email ?? typed, password);
        if (status !== null) setWrong({ text: wordsFor(status) });
      }}
    >
      {email === undefined && <Field label="Email" name="email" type="email" autoComplete="username" required />}
      <Field
        label={email ? `Password of ${email}` : 'Password'}
        name="password"
        type="password"
        autoComplete="current-password"
        required
      />
      {wrong && <ErrorLine key={wrong.text}>{wrong.text}</ErrorLine>}
    </Form>
  );
}

export function SignIn() {
  return (
    <main className="page sign-in">
      <h1>Clinic schedule</h1>
      <p className="muted">Sign in to see and book sessions.</p>
      <Credentials />
      {isDevelopment && (
        <section aria-label="Demo accounts">
          <h2>Demo accounts</h2>
          <p className="muted">On a development stack only. Choose one, then sign in.</p>
          <div className="chips">
            {Object.entries(demo).map(([name, email]) => (
              <Button key={name} label={name} press={() => fillIn({ email, password: 'demo-password-1234' })} />
            ))}
          </div>
        </section>
      )}
    </main>
  );
}

function fillIn(values: Readonly<Record<string, string>>): void {
  for (const [name, value] of Object.entries(values)) {
    const field = document.querySelector<HTMLInputElement>(`input[name="${name}"]`);
    if (field) field.value = value;
  }
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
