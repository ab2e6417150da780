import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { SessionsProvider } from 'therapist-sessions/react';
import { queryClient, supabase } from './api.ts';
import { App } from './app.tsx';
import { ErrorBoundary } from './ui.tsx';

/** A shared computer is locked after a quarter of an hour without input. */
const IDLE_MINUTES = 15;

const root = document.getElementById('app');
if (!root) throw new Error('The page has no #app.');
createRoot(root).render(
  <StrictMode>
    <ErrorBoundary>
      <SessionsProvider {...{ supabase, queryClient, idleMinutes: IDLE_MINUTES, forget: () => sessionStorage.clear() }}>
        <App />
      </SessionsProvider>
    </ErrorBoundary>
  </StrictMode>,
);
