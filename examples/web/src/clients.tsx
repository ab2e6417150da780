/** Clients by number and name, and one client's sessions and authorizations. */
import { useState } from 'react';
import { fetchAllPages, fetchClientDetails, fetchSchedule, plusDays, type SessionRow } from 'therapist-sessions';
import { Link } from 'wouter';
import { Agenda } from './agenda.tsx';
import { type Balance, supabase, useClients, useRead, useReport, useSchedule, useTherapists } from './queries.ts';
import { useMe } from './session.tsx';
import { Failure, State, useAction } from './ui.tsx';

/** How far ahead the list looks for a next session, and how far back and ahead a client's page goes. */
const NEXT_DAYS = 28;
const PAGE_DAYS = { back: 28, ahead: 56 };
const DAY_MS = 86_400_000;

export function ClientList() {
  const { times } = useMe();
  const clients = useClients();
  const { byId: therapists } = useTherapists();
  const [search, setSearch] = useState('');
  const today = times.today();
  const span = { from: times.instant(`${today}T00:00`), to: times.instant(`${plusDays(today, NEXT_DAYS)}T00:00`) };
  const upcoming = useRead(['upcoming', span], (signal) =>
    fetchAllPages((cursor) => fetchSchedule(supabase, { ...span, statuses: ['scheduled'], cursor, signal })),
  );
  const balances = useReport<Balance>('authorization_balances');
  const shown = clients.clients.filter((client) => clients.full(client).toLowerCase().includes(search.trim().toLowerCase()));
  const next = (id: string) =>
    upcoming.data?.find(({ client_id, start_time }) => client_id === id && Date.parse(start_time) > Date.now());
  const tightest = (id: string) =>
    balances.data
      ?.filter(({ client_id, ends_on }) => client_id === id && ends_on >= today)
      .sort((a, b) => Number(b.taken_percent) - Number(a.taken_percent))[0];
  return (
    <div className="page">
      <h1>Clients</h1>
      <label>
        Search
        <input type="search" value={search} onChange={(event) => setSearch(event.target.value)} />
      </label>
      <p className="muted small-text">
        Searching {clients.clients.length} clients you may see. Names are sealed, so the search is on this page only.
      </p>
      <State
        pending={clients.isPending}
        error={clients.error ?? upcoming.error ?? balances.error}
        empty={shown.length === 0 && 'No client matches.'}
      />
      {shown.length > 0 && (
        <div className="scroll">
          <table>
            <thead>
              <tr>
                <th scope="col">Client</th>
                <th scope="col">Next session</th>
                <th scope="col">Authorization</th>
              </tr>
            </thead>
            <tbody>
              {shown.map((client) => {
                const session = next(client.id);
                const balance = tightest(client.id);
                return (
                  <tr key={client.id}>
                    <th scope="row">
                      <Link href={`/clients/${client.id}`}>{clients.full(client)}</Link>
                    </th>
                    <td>
                      {session ? (
                        `${times.dayRange(session.start_time, session.end_time)} with ${therapists.get(session.therapist_id)?.display_name ?? '–'}`
                      ) : (
                        <span className="muted">none planned</span>
                      )}
                    </td>
                    <td>{balance ? <Meter balance={balance} /> : <span className="muted">none</span>}</td>
                  </tr>
                );
              })}
            </tbody>
          </table>
        </div>
      )}
    </div>
  );
}

/** How much of an authorization is taken, as a bar and in words. */
function Meter({ balance }: { balance: Balance }) {
  const { times } = useMe();
  const percent = (units: number) => ({ width: `${(100 * units) / balance.approved_units}%` });
  const days = Math.round((Date.parse(balance.ends_on) - Date.parse(times.today())) / DAY_MS);
  return (
    <>
      <span className="meter" aria-hidden>
        <i className="used" style={percent(balance.used_units)} />
        <i className="planned" style={percent(balance.scheduled_units + balance.held_units)} />
      </span>
      <span className="small-text">
        {balance.cpt_codes.join(', ')}: {balance.used_units} used, {balance.scheduled_units + balance.held_units} planned,{' '}
        {balance.left_units} of {balance.approved_units} left
        {days <= 60 ? `, ends in ${days} days` : `, until ${times.date(balance.ends_on)}`}
      </span>
    </>
  );
}

export function ClientPage({ id }: { id: string }) {
  const { times } = useMe();
  const clients = useClients();
  const { byId: therapistById } = useTherapists();
  const today = times.today();
  const first = plusDays(today, -PAGE_DAYS.back);
  const span = {
    from: times.instant(`${first}T00:00`),
    to: times.instant(`${plusDays(today, PAGE_DAYS.ahead)}T00:00`),
    therapistId: null,
    clientId: id,
  };
  const schedule = useSchedule(span);
  const balances = useReport<Balance>('authorization_balances', { where: { client_id: id } });
  const client = clients.byId.get(id);
  if (clients.isPending) return <p className="page muted loading">Loading…</p>;
  // A client of another clinic looks like one that does not exist.
  if (!client)
    return (
      <div className="page narrow">
        <h1>There is no such client on your list</h1>
        <Link href="/clients">All clients</Link>
      </div>
    );
  const context = { times, nameOf: clients.nameOf, therapistById, showTherapist: true };
  const days = (from: string, count: number) => Array.from({ length: count }, (_, day) => plusDays(from, day));
  const by = (test: (session: SessionRow) => boolean) => (schedule.sessions ?? []).filter(test);
  const isPast = ({ start_time }: SessionRow) => Date.parse(start_time) < Date.now();
  return (
    <div className="page">
      <p>
        <Link href="/clients">All clients</Link>
      </p>
      <h1>{clients.full(client)}</h1>
      <Details clientId={id} />
      <h2>Authorizations</h2>
      <State
        pending={balances.isPending}
        error={balances.error}
        empty={balances.data?.length === 0 && 'None: no payer limits this client’s services.'}
      />
      {balances.data?.map((balance) => (
        <p key={balance.authorization_id}>
          {balance.payer_name}
          <Meter balance={balance} />
        </p>
      ))}
      <Failure error={schedule.error} />
      <h2>To come</h2>
      <Agenda
        days={days(today, PAGE_DAYS.ahead)}
        sessions={by((session) => !isPast(session) && session.status !== 'cancelled')}
        context={context}
        empty="No sessions planned."
        pending={schedule.sessions === null}
      />
      <h2>Last {PAGE_DAYS.back} days</h2>
      <Agenda
        days={days(first, PAGE_DAYS.back + 1).reverse()}
        sessions={by(isPast)}
        context={context}
        empty="No sessions."
        pending={schedule.sessions === null}
      />
    </div>
  );
}

/** Read on a press, not with the page: each reading is recorded. */
function Details({ clientId }: { clientId: string }) {
  const [details, setDetails] = useState<Awaited<ReturnType<typeof fetchClientDetails>> | undefined>();
  const { busy, run, error } = useAction();
  if (details === undefined)
    return (
      <p>
        <button
          type="button"
          disabled={busy}
          onClick={() => void run(async () => setDetails(await fetchClientDetails(supabase, { clientId })))}
        >
          Show details <span className="muted">(recorded)</span>
        </button>
        <Failure error={error} />
      </p>
    );
  if (details === null) return <p className="muted">No details are saved.</p>;
  const guardians = details.guardians?.map(
    ({ name, relationship, contacts }) =>
      `${name}${relationship ? ` (${relationship})` : ''} ${contacts?.map(({ value }) => value).join(', ') ?? ''}`,
  );
  const shown = {
    Name: `${details.given_name} ${details.family_name}`,
    Born: details.birth_date,
    Guardians: guardians?.join('\n'),
    Remarks: details.remarks,
  };
  return (
    <dl>
      {Object.entries(shown).map(
        ([label, value]) =>
          value && (
            <div key={label}>
              <dt>{label}</dt>
              <dd>{value}</dd>
            </div>
          ),
      )}
    </dl>
  );
}
