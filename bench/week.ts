/** What row security adds to reading a therapist's week. */
import { midnight, organizationId, signIn, therapistId } from './clinic.ts';
import { asAdminOf, openConnections, Times } from './measure.ts';
import { atMost, type Report } from './report.ts';
import { WEEK } from './world.ts';

/** Reads the week as the tables' owner, as the therapist and as an admin, in turn. */
export async function weekUnderRls(url: string, report: Report, rounds: number): Promise<void> {
  const organization = WEEK.organization;
  const own = therapistId(organization, WEEK.therapist);
  const text = `
    select * from public.sessions
    where organization_id = $1 and therapist_id = $2 and start_time >= $3 and start_time < $4
    order by start_time`;
  const values = [organizationId(organization), own, new Date(midnight(-14)), new Date(midnight(-7))];
  const readers = {
    owner: await openConnections(url, 1),
    therapist: await openConnections(url, 1, (client) => signIn(client, organization, own)),
    admin: await openConnections(url, 1, asAdminOf(organization)),
  };
  const times = new Times();
  try {
    for (let round = -12; round < rounds; round++)
      for (const [name, [client]] of Object.entries(readers)) {
        const found = await (round < 0 ? new Times() : times).of(name, async () =>
          client?.query({ name: 'week', text, values }),
        );
        if (found?.rowCount !== 40) throw new Error(`${found?.rowCount} sessions of 40 were read`);
      }
  } finally {
    await Promise.all(Object.values(readers).map(([client]) => client?.end()));
  }
  for (const name of ['therapist', 'admin']) {
    const added = times.p50(name) - times.p50('owner');
    report.add(
      `a therapist's week under RLS, ${name}`,
      `p50 ${times.p50(name).toFixed(2)} ms = ${added.toFixed(2)} ms more than the owner's ${times.p50('owner').toFixed(2)} ms`,
      added,
      atMost(0.1, 'ms more'),
    );
  }
}
