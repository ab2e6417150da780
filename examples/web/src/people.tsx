/** Therapists with their hours, and for super admins who belongs to the clinic and as what. */
import { Plus } from 'lucide-react';
import { useState } from 'react';
import { hoursInWords, type Role, type WeeklyHours } from 'therapist-sessions';
import { useMe, useMembers, useTherapists, useWelcome, useWorkload } from 'therapist-sessions/react';
import { Link, useLocation } from 'wouter';
import { Button, Choice, Failure, Field, Form, State, Table } from './ui.tsx';

export function People() {
  const { role } = useMe();
  const { therapists, error, isPending } = useTherapists();
  const workload = useWorkload();
  return (
    <div className="page">
      <h1>Therapists</h1>
      <p className="row">
        <Link href="/therapists/new" className="button">
          <Plus size={16} aria-hidden /> Add a therapist
        </Link>
      </p>
      <State pending={isPending} error={error} />
      <Table
        rows={therapists}
        columns={[
          { head: 'Therapist', cell: ({ id, display_name }) => <Link href={`/therapists/${id}`}>{display_name}</Link> },
          { head: 'Credential', cell: ({ credential }) => credential },
          { head: 'Hours', cell: ({ availability_hours }) => hoursInWords(availability_hours as WeeklyHours | null) },
          { head: 'Booked this week', isNumber: true, cell: ({ id }) => workload(id) },
        ]}
      />
      {role === 'super_admin' && <Members />}
    </div>
  );
}

const roles = { client: 'Parent', therapist: 'Therapist', admin: 'Admin', super_admin: 'Super admin' };

function Members() {
  const { userId } = useMe();
  const { byId } = useTherapists();
  const { members, error, isPending, action, ending, change, remove } = useMembers();
  const nameOf = (id: string) => byId.get(id)?.display_name ?? (id === userId ? 'You' : id);
  return (
    <section aria-labelledby="members">
      <h2 id="members">Members</h2>
      <p className="muted">Accounts are named by their id: an address would tell one clinic who works at another.</p>
      <State pending={isPending} error={error} />
      <Failure error={action.error} />
      <Table
        rows={members}
        columns={[
          { head: 'Account', cell: ({ user_id }) => nameOf(user_id) },
          {
            head: 'Role',
            cell: ({ user_id, role }) => (
              <Choice
                label={<span className="hidden">Role of {nameOf(user_id)}</span>}
                options={roles}
                value={role}
                onValue={(next) => void change(user_id, next as Role)}
              />
            ),
          },
          { head: 'Permissions', cell: ({ permissions }) => permissions.join(', ').replaceAll('_', ' ') || '–' },
          {
            head: 'Membership',
            cell: ({ user_id }) => <Button label="End" look="small" by={ending} press={() => remove(user_id)} />,
          },
        ]}
      />
    </section>
  );
}

const credentials = { RBT: 'RBT', BCaBA: 'BCaBA', BCBA: 'BCBA', 'BCBA-D': 'BCBA-D' };
const ID_PATTERN = '[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}';

export function NewTherapist() {
  const { clinic, role: own } = useMe();
  const [, go] = useLocation();
  const welcome = useWelcome();
  const [role, setRole] = useState('therapist');
  const isSuper = own === 'super_admin';
  return (
    <div className="page narrow">
      <h1>Add a therapist</h1>
      <p>
        The person needs an account first: your backend sends the invitation.{' '}
        {isSuper ? `They become a member of ${clinic.name}.` : `A super admin makes them a member of ${clinic.name}.`}
      </p>
      <Form
        submit="Add"
        saying="Adding…"
        onSubmit={async ({ user: userId = '', name: displayName, credential }) => {
          await welcome({ userId, role: role as Role, displayName, credential });
          go(role === 'therapist' ? `/therapists/${userId}` : '/therapists');
        }}
      >
        <Field label="Id of the account" name="user" required pattern={ID_PATTERN} title="A UUID, from the invitation" />
        {isSuper && <Choice label="Role" options={roles} value={role} onValue={setRole} />}
        {role === 'therapist' && <Field label="Name" name="name" required maxLength={200} />}
        {role === 'therapist' && <Choice label="Credential" name="credential" options={credentials} />}
      </Form>
    </div>
  );
}
