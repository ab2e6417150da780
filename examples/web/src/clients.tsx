/** Clients by number and name, and one client's sessions and authorizations. */
import { useState } from 'react';
import {
  type Balance,
  balanceInWords,
  CLIENT_DAYS,
  useClientDetails,
  useClientPage,
  useClients,
  useMe,
  useOutlook,
} from 'therapist-sessions/react';
import { Link } from 'wouter';
import { Agenda } from './agenda.tsx';
import { Button, Facts, Failure, Field, Narrow, State, Table } from './ui.tsx';

export function ClientList() {
  const { clients, matching, isPending, error } = useClients();
  const outlook = useOutlook();
  const [search, setSearch] = useState('');
  const shown = matching(search);
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
            { head: 'Next session', cell: ({ id }) => outlook.nextOf(id) ?? <span className="muted">none planned</span> },
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
  const { approved_units: max, used_units, scheduled_units, held_units } = balance;
  const words = balanceInWords(balance, times);
  return (
    <>
      <meter aria-label={words} max={max} high={0.9 * max} value={used_units + scheduled_units + held_units} />
      <span className="small-text">{words}</span>
    </>
  );
}

export function ClientPage({ id }: { id: string }) {
  const { isPending, error, title, naming, toCome, past, balances } = useClientPage(id);
  const all = <Link href="/clients">All clients</Link>;
  if (isPending) return <State pending />;
  // A client of another clinic looks like one that does not exist.
  if (!title) return <Narrow title="There is no such client on your list">{all}</Narrow>;
  const noPayer = balances.data?.length === 0 && 'None: no payer limits this client’s services.';
  return (
    <div className="page">
      <p>{all}</p>
      <h1>{title}</h1>
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
      <h2>Last {CLIENT_DAYS.back} days</h2>
      {past && <Agenda sessions={past} naming={naming} empty="No sessions." />}
    </div>
  );
}

/** Read on a press, not with the page: each reading is recorded. */
function Details({ clientId }: { clientId: string }) {
  const { action, show, facts } = useClientDetails(clientId);
  if (facts === null) return <p className="muted">No details are saved.</p>;
  if (facts) return <Facts facts={facts} />;
  return (
    <p>
      <Button label="Show details (recorded)" by={action} press={show} />
      <Failure error={action.error} />
    </p>
  );
}
