/** The schedule as a list by day: the whole of the grid for who cannot, or would rather not, use one. */
import { ChevronRight, Repeat, Users } from 'lucide-react';
import type { SessionRow } from 'therapist-sessions';
import { grouped, type Naming, statusWords, titleOf } from './blocks.ts';

interface Props {
  readonly days: readonly string[];
  readonly sessions: readonly SessionRow[];
  readonly context: Naming;
  readonly empty: string;
  readonly pending: boolean;
  onOpen?(id: string): void;
}

export function Agenda({ days, sessions, context, empty, pending, onOpen }: Props) {
  const { times, therapistById } = context;
  const dayOf = ({ start_time }: SessionRow) => times.civil(start_time).slice(0, 10);
  const byDay = days.map((day) => ({
    day,
    sessions: grouped(sessions.filter((session) => dayOf(session) === day)),
  }));
  const filled = byDay.filter((one) => one.sessions.length > 0);
  if (filled.length === 0) return pending ? null : <p className="muted empty">{empty}</p>;
  return (
    <div className="agenda">
      {filled.map(({ day, sessions: ofDay }) => (
        <section key={day} aria-labelledby={`day-${day}`}>
          <h2 id={`day-${day}`}>
            {times.longDay(times.instant(`${day}T12:00`))} {day === times.today() && <span className="badge">Today</span>}
          </h2>
          <ul>
            {ofDay.map((members) => {
              const [session] = members as [SessionRow];
              const inside = (
                <>
                  <span className="when tabular">{times.range(session.start_time, session.end_time)}</span>
                  <span className="who">
                    <strong>{titleOf(members, context)}</strong>{' '}
                    {session.series_id && <Repeat size={14} role="img" aria-label="repeats" />}
                    {members.length > 1 && <Users size={14} aria-hidden />}
                    <span className="muted"> {therapistById.get(session.therapist_id)?.display_name}</span>
                  </span>
                  <span className={`status ${session.status}`}>{statusWords[session.status]}</span>
                </>
              );
              return (
                <li key={session.id}>
                  {onOpen ? (
                    <button type="button" className="row-button" onClick={() => onOpen(session.id)}>
                      {inside}
                      <ChevronRight size={16} aria-hidden />
                    </button>
                  ) : (
                    <span className="row-button">{inside}</span>
                  )}
                </li>
              );
            })}
          </ul>
        </section>
      ))}
    </div>
  );
}
