/** The schedule as a list by day: the whole of the grid for who cannot, or would rather not, use one. */
import { ChevronRight, Repeat, Users } from 'lucide-react';
import { appointmentsOf, appointmentTitle, type Naming, type SessionRow, statusWords } from 'therapist-sessions';
import { useLocation } from 'wouter';

interface Props {
  /** In the order in which their days are to stand. */
  readonly sessions: readonly SessionRow[];
  readonly naming: Naming;
  readonly empty: string;
  /** What opens a session; without it the schedule of its day does. */
  onOpen?(id: string): void;
}

export function Agenda({ sessions, naming, empty, onOpen }: Props) {
  const { times, therapistById } = naming;
  const [, go] = useLocation();
  const dayOf = ({ start_time }: SessionRow) => times.civil(start_time).slice(0, 10);
  const days = Map.groupBy(appointmentsOf(sessions), ([first]) => dayOf(first as SessionRow));
  const open = (session: SessionRow) =>
    onOpen ? onOpen(session.id) : go(`/schedule?view=list&date=${dayOf(session)}&session=${session.id}`);
  if (days.size === 0) return <p className="muted empty">{empty}</p>;
  return (
    <div className="agenda">
      {[...days].map(([day, appointments]) => (
        <section key={day} aria-labelledby={`day-${day}`}>
          <h2 id={`day-${day}`}>
            {times.longDay(times.instant(`${day}T12:00`))} {day === times.today() && <span className="badge">Today</span>}
          </h2>
          <ul>
            {appointments.map((members) => {
              const [session] = members as [SessionRow];
              return (
                <li key={session.id}>
                  <button type="button" className="row-button" onClick={() => open(session)}>
                    <span className="when tabular">{times.range(session.start_time, session.end_time)}</span>
                    <span className="who">
                      <strong>{appointmentTitle(members, naming)}</strong>{' '}
                      {session.series_id && <Repeat size={14} role="img" aria-label="repeats" />}
                      {members.length > 1 && <Users size={14} aria-hidden />}
                      <span className="muted"> {therapistById.get(session.therapist_id)?.display_name}</span>
                    </span>
                    <span className={`status ${session.status}`}>{statusWords[session.status]}</span>
                    <ChevronRight size={16} aria-hidden />
                  </button>
                </li>
              );
            })}
          </ul>
        </section>
      ))}
    </div>
  );
}
