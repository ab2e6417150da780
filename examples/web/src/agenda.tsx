/** The schedule as a list by day: the whole of the grid for who cannot, or would rather not, use one. */
import { ChevronRight, Repeat, Users } from 'lucide-react';
import { agendaDays, type Naming, type SessionRow, type StaffTimeRow } from 'therapist-sessions';
import { useLocation } from 'wouter';

interface Props {
  /** In the order in which their days are to stand. */
  readonly sessions: readonly SessionRow[];
  readonly staffTimes?: readonly StaffTimeRow[];
  readonly naming: Naming;
  readonly empty: string;
  /** What opens an entry; without it the schedule of its day does. */
  onOpen?(id: string): void;
}

export function Agenda({ sessions, staffTimes = [], naming, empty, onOpen }: Props) {
  const { times } = naming;
  const [, go] = useLocation();
  const days = agendaDays(sessions, staffTimes, naming);
  if (days.size === 0) return <p className="muted empty">{empty}</p>;
  return (
    <div className="agenda">
      {[...days].map(([day, entries]) => (
        <section key={day} aria-labelledby={`day-${day}`}>
          <h2 id={`day-${day}`}>
            {times.longDay(times.instant(`${day}T12:00`))} {day === times.today() && <span className="badge">Today</span>}
          </h2>
          <ul>
            {entries.map(({ id, when, title, whose, repeats, isGroup, kind, status }) => (
              <li key={id}>
                <button
                  type="button"
                  className="row-button"
                  data-id={id}
                  onClick={() => (onOpen ? onOpen(id) : go(`/schedule?view=list&date=${day}&session=${id}`))}
                >
                  <span className="when tabular">{when}</span>
                  <span className="who">
                    <strong>{title}</strong> {repeats && <Repeat size={14} role="img" aria-label="repeats" />}
                    {isGroup && <Users size={14} aria-hidden />}
                    <span className="muted"> {whose}</span>
                  </span>
                  {status && <span className={`status ${kind}`}>{status}</span>}
                  <ChevronRight size={16} aria-hidden />
                </button>
              </li>
            ))}
          </ul>
        </section>
      ))}
    </div>
  );
}
