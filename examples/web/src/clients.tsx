/** Clients by number and name, and one client's sessions and authorizations. */
import { useState } from 'react';
import { type ClientDetails, fetchClientDetails, plusDays, type SessionRow } from 'therapist-sessions';
import {
  type Balance,
  useAction,
  useClients,
  useMe,
  useOutlook,
  useReport,
  useSchedule,
  useTherapists,
} from 'therapist-sessions/react';
import { Link } from 'wouter';
import { Agenda } from './agenda.tsx';
import { supabase } from './api.ts';
import { Button, Facts, Failure, Field, Missing, State, Table } from './ui.tsx';

/** How far back and ahead a client's page goes. */
const PAGE_DAYS = { back: 28, ahead: 56 };
const DAY_MS = 86_400_000;

export function ClientList() {
  const { times } = useMe();
  const { clients, matching, isPending, error } = useClients();
  const { byId: therapists } = useTherapists();
  const outlook = useOutlook();
  const [search, setSearch] = useState('');
  const shown = matching(search);
  const next = (id: string) => {
    const session = outlook.nextOf(id);
    if (!session) return <span className="muted">none planned</span>;
    const { start_time, end_time, therapist_id } = session;
    return `${times.dayRange(start_time, end_time)} with ${therapists.get(therapist_id)?.display_name ?? '–'}`;
  };
  return (
    <div className="page">
      <h1>Clients</h1>
      <Field label="Search" type="search" value={search} onValue={setSearch} />
      <p className="muted small-text">
        Searching {clients.length} clients you may see. Names are sealed, so the search is on this page only.
      </p>
      <State pending={isPending} error={error ?? outlook.error} empty={shown.length === 0 && 'No client matches.'} />
      {shown.length > 0 && (
        <Table
          rows={shown}
          columns={[
            { head: 'Client', cell: ({ id, label }) => <Link href={`/clients/${id}`}>{label}</Link> },
            { head: 'Next session', cell: ({ id }) => next(id) },
            { head: 'Authorization', cell: ({ id }) => <Meter balance={outlook.tightestOf(id)} /> },
          ]}
        />
      )}
    </div>
  );
}

/** How much of an authorization is taken, as a bar and in words. */
function Meter({ balance }: { balance: Balance | undefined }) {
  const { times } = useMe();
  if (!balance) return <span className="muted">none</span>;
  const { approved_units, used_units, scheduled_units, held_units, left_units, cpt_codes, ends_on } = balance;
  const planned = scheduled_units + held_units;
  const days = Math.round((Date.parse(ends_on) - Date.parse(times.today())) / DAY_MS);
  const until = days <= 60 ? `ends in ${days} days` : `until ${times.date(ends_on)}`;
  const words = `${cpt_codes.join(', ')}: ${used_units} used, ${planned} planned, ${left_units} of ${approved_units} left, ${until}`;
  return (
    <>
      <meter aria-label={words} max={approved_units} high={0.9 * approved_units} value={used_units + planned} />
      <span className="small-text">{words}</span>
    </>
  );
}

export function ClientPage({ id }: { id: string }) {
  const { times, now } = useMe();
  const { byId, full, nameOf, isPending } = useClients([id]);
  const { byId: therapistById } = useTherapists();
  const midnight = (days: number) => times.instant(`${plusDays(times.today(), days)}T00:00`);
  const span = { from: midnight(-PAGE_DAYS.back), to: midnight(PAGE_DAYS.ahead), therapistId: null, clientId: id };
  const { sessions, error } = useSchedule(span);
  const balances = useReport<Balance>('authorization_balances', { where: { client_id: id } });
  const client = byId.get(id);
  if (isPending) return <State pending />;
  // A client of another clinic looks like one that does not exist.
  if (!client)
    return (
      <Missing what="client on your list">
        <Link href="/clients">All clients</Link>
      </Missing>
    );
  const naming = { times, nameOf, therapistById, showTherapist: true };
  const isPast = ({ start_time }: SessionRow) => Date.parse(start_time) < now();
  const toCome = sessions?.filter((session) => !isPast(session) && session.status !== 'cancelled');
  const noPayer = balances.data?.length === 0 && 'None: no payer limits this client’s services.';
  return (
    <div className="page">
      <p>
        <Link href="/clients">All clients</Link>
      </p>
      <h1>{full(client)}</h1>
      <Details clientId={id} />
      <h2>Authorizations</h2>
      <State pending={balances.isPending} error={balances.error} empty={noPayer} />
      {balances.data?.map((balance) => (
        <p key={balance.authorization_id}>
          {balance.payer_name}
          <Meter balance={balance} />
        </p>
      ))}
      <Failure error={error} />
      <h2>To come</h2>
      {toCome && <Agenda sessions={toCome} naming={naming} empty="No sessions planned." />}
      <h2>Last {PAGE_DAYS.back} days</h2>
      {sessions && <Agenda sessions={sessions.filter(isPast).reverse()} naming={naming} empty="No sessions." />}
    </div>
  );
}

/** Read on a press, not with the page: each reading is recorded. */
function Details({ clientId }: { clientId: string }) {
  const [details, setDetails] = useState<ClientDetails | null | undefined>();
  const action = useAction();
  if (details === undefined)
    return (
      <p>
        <Button
          label="Show details (recorded)"
          by={action}
          press={async () => setDetails(await fetchClientDetails(supabase, { clientId }))}
        />
        <Failure error={action.error} />
      </p>
    );
  if (!details) return <p className="muted">No details are saved.</p>;
  const guardians = details.guardians?.map(({ name, relationship = 'guardian', contacts = [] }) =>
    [name, `(${relationship})`, contacts.map(({ value }) => value).join(', ')].join(' '),
  );
  const facts = {
    Name: `${details.given_name} ${details.family_name}`,
    Born: details.birth_date,
    Guardians: guardians?.join('\n'),
    Remarks: details.remarks,
  };
  return <Facts facts={facts} />;
}
