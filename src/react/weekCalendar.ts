/**
 * The grid of a week, or of a day in columns: the only file that knows the calendar component. It works in civil time:
 * what goes in and comes out are local times of the clinic, such as `2026-12-01T10:00:00`.
 */
import {
  type Calendar,
  createCalendar,
  destroyCalendar,
  Interaction,
  ResourceTimeGrid,
  TimeGrid,
} from '@event-calendar/core';
import { createElement, useEffect, useRef } from 'react';
import { type Block, shiftCivil } from '../lib/index.ts';
import { isLost } from './focus.ts';

/** A span of local time, and the column it is in. */
export interface Slot {
  readonly start: string;
  readonly end: string;
  readonly column?: string;
}
interface Props {
  readonly label: string;
  readonly date: string;
  /** How many days: 7 or 1. With columns it is always one. */
  readonly days: number;
  readonly columns?: readonly { readonly id: string; readonly title: string }[];
  readonly blocks: readonly Block[];
  /** The clinic's offset now, such as `-08:00`: it places the line of the present time, nothing else. */
  readonly offsetNow: string;
  readonly hours: { readonly from: string; readonly to: string };
  readonly canBook: boolean;
  /** What is shown is not read yet. */
  readonly pending: boolean;
  onSelect(slot: Slot): void;
  onOpen(id: string): void;
  /** Answers whether the change stands; if not, the block goes back. */
  onMove(id: string, slot: Slot): Promise<boolean>;
}

const milliseconds = (duration?: { readonly seconds: number; readonly days?: number }) =>
  ((duration?.days ?? 0) * 86_400 + (duration?.seconds ?? 0)) * 1000;
const blockOf = (event: Calendar.Event) => event.extendedProps as unknown as Block;
type Change = Calendar.EventDropInfo | (Calendar.EventResizeInfo & { startDelta?: Calendar.Duration });

export function WeekCalendar(props: Props) {
  const box = useRef<HTMLDivElement>(null);
  const calendar = useRef<Calendar | null>(null);
  const held = useRef<Held | null>(null);
  const current = useRef(props);
  current.current = props;
  const view = props.columns ? 'resourceTimeGridDay' : props.days === 1 ? 'timeGridDay' : 'timeGridWeek';
  const hours = `${props.hours.from} ${props.hours.to}`;

  useEffect(() => {
    const root = box.current;
    if (!root) return;
    const roving = roveIn(root, held);
    let cancelled = false;
    const onKey = (event: KeyboardEvent) => {
      if (event.key === 'Escape') cancelled = true;
    };
    // Escape during a drag means no; the component itself would drop the block where it is.
    const begin = () => {
      cancelled = false;
      addEventListener('keydown', onKey, true);
    };
    const changed = async (info: Change, slot: Slot) => {
      removeEventListener('keydown', onKey, true);
      if (cancelled || !(await current.current.onMove(String(info.event.id), slot))) info.revert();
    };
    const created = createCalendar(root, [TimeGrid, ResourceTimeGrid, Interaction], {
      view,
      date: current.current.date,
      firstDay: 1,
      timeZone: current.current.offsetNow,
      nowIndicator: true,
      allDaySlot: false,
      headerToolbar: { start: '', center: '', end: '' },
      slotDuration: '00:15',
      snapDuration: '00:15',
      slotLabelInterval: '01:00',
      slotHeight: slotHeight(root, current.current.hours),
      slotMinTime: current.current.hours.from,
      slotMaxTime: current.current.hours.to,
      height: '100%',
      dayHeaderFormat: { weekday: 'short', day: 'numeric', month: 'short' },
      slotLabelFormat: { hour: 'numeric' },
      selectable: current.current.canBook,
      editable: true,
      eventResizableFromStart: true,
      selectLongPressDelay: 350,
      eventLongPressDelay: 350,
      resources: [...(current.current.columns ?? [])],
      events: eventsOf(current.current),
      eventTimeFormat: () => '',
      eventContent: ({ event }) => ({ domNodes: nodesOf(blockOf(event)) }),
      eventDidMount: ({ el, event }) => {
        const block = blockOf(event);
        // The preview of a selection is drawn as an event too, without a block.
        if (!block.start || block.background) return;
        el.dataset.id = block.id;
        el.dataset.at = block.start;
        el.dataset.column = view === 'timeGridWeek' ? block.start.slice(0, 10) : (block.column ?? '');
      },
      eventClick: ({ event }) => !blockOf(event).background && current.current.onOpen(String(event.id)),
      select: ({ startStr, endStr, resource }) => {
        current.current.onSelect({
          start: startStr.slice(0, 19),
          end: endStr.slice(0, 19),
          column: resource?.id,
        });
        created.unselect();
      },
      eventDragStart: begin,
      eventResizeStart: begin,
      eventDrop: (info) => {
        const { start, end } = blockOf(info.event);
        const moved = milliseconds(info.delta);
        const column = info.newResource?.id ?? info.event.resourceIds[0];
        void changed(info, {
          start: shiftCivil(start, moved),
          end: shiftCivil(end, moved),
          column: column as string,
        });
      },
      eventResize: (info: Calendar.EventResizeInfo & { startDelta?: Calendar.Duration }) => {
        const { start, end, column } = blockOf(info.event);
        const slot = {
          start: shiftCivil(start, milliseconds(info.startDelta)),
          end: shiftCivil(end, milliseconds(info.endDelta)),
        };
        void changed(info, { ...slot, column });
      },
      eventAllUpdated: () => tidy(root, roving),
    });
    // Columns may come after the events, and the component tells nobody.
    const drawn = new MutationObserver(() => tidy(root, roving));
    drawn.observe(root, { childList: true, subtree: true });
    root.addEventListener('keydown', roving.onKey);
    root.addEventListener('focusin', roving.onFocus);
    root.addEventListener('focusout', roving.onBlur);
    calendar.current = created;
    tidy(root, roving);
    return () => {
      drawn.disconnect();
      root.removeEventListener('keydown', roving.onKey);
      root.removeEventListener('focusin', roving.onFocus);
      root.removeEventListener('focusout', roving.onBlur);
      removeEventListener('keydown', onKey, true);
      void destroyCalendar(created);
    };
  }, [view, props.offsetNow, hours, props.canBook]);

  useEffect(() => void calendar.current?.setOption('date', props.date), [props.date]);
  useEffect(
    () => void calendar.current?.setOption('events', eventsOf(current.current)),
    [props.blocks, props.columns],
  );
  useEffect(() => void calendar.current?.setOption('resources', [...(props.columns ?? [])]), [props.columns]);
  return createElement('div', {
    ref: box,
    className: 'calendar',
    role: 'group',
    'aria-label': props.label,
    // Has the focus while there is no session to give it to.
    tabIndex: -1,
    'data-keeps-focus': '',
    ...{ 'data-from': props.hours.from, 'data-to': props.hours.to, 'aria-busy': props.pending },
  });
}

/** Pixels of a quarter hour: as many as fill the page, at least those of a readable block. */
function slotHeight(root: HTMLElement, { from, to }: Props['hours']): number {
  const quarters = (Number(to.slice(0, 2)) - Number(from.slice(0, 2))) * 4;
  const HEADER = 34;
  return Math.max(14, Math.floor(((root.clientHeight - HEADER) / quarters) * 2) / 2);
}

function eventsOf({ blocks, columns = [] }: Props): Calendar.EventInput[] {
  return blocks.map((block) => ({
    id: block.id,
    start: block.start,
    end: block.end,
    title: block.title,
    resourceIds: block.column ? [block.column] : columns.map(({ id }) => id),
    display: block.background ? 'background' : 'auto',
    editable: block.movable ?? false,
    classNames: block.kind.split(' '),
    extendedProps: { ...block },
  }));
}

function nodesOf(block: Block): Node[] {
  const span = (className: string, text: string) => {
    const node = document.createElement('span');
    node.className = className;
    node.textContent = text;
    return node;
  };
  if (block.background || !block.start) return [span('block-detail', block.title ?? '')];
  return [
    span('hidden', `${block.spoken ?? ''} `),
    span('block-title', block.title),
    span('hidden', ' '),
    span('block-detail', block.detail),
  ];
}

/** The component says it is a table, but has buttons for cells: a labelled group is what a screen reader can use. */
function tidy(root: HTMLElement, roving: ReturnType<typeof roveIn>): void {
  root.querySelector('.ec')?.setAttribute('role', 'none');
  for (const cell of root.querySelectorAll('[role=row],[role=rowgroup],[role=columnheader],[role=cell]'))
    for (const name of ['role', 'aria-colindex', 'aria-colspan']) cell.removeAttribute(name);
  roving.update();
}

/** The session that has, or had last, the focus: which, and its place in the order of time. */
interface Held {
  readonly id: string;
  readonly place: string;
  /** It has not been left for something else. */
  hasFocus: boolean;
}
const placeOf = ({ dataset }: HTMLElement) => `${dataset.at}${dataset.column}`;
const byPlace = (a: HTMLElement, b: HTMLElement) =>
  Number(placeOf(a) > placeOf(b)) - Number(placeOf(a) < placeOf(b));

/**
 * One stop of the Tab key for all sessions; arrows go from one to the next. Each change draws new elements, and so the
 * focus is given back to the session that had it; when that is gone, to the next.
 */
function roveIn(root: HTMLElement, held: { current: Held | null }) {
  const items = () =>
    [...root.querySelectorAll<HTMLElement>('.ec-event[data-id]')]
      .filter((item) => item.getAttribute('role') === 'button')
      .sort(byPlace);
  const update = () => {
    const all = items();
    const last = held.current;
    const isDown = last?.hasFocus && (isLost() || document.activeElement === root);
    // Time of several therapists is drawn in the column of each.
    const copies = all.filter((item) => item.dataset.id === last?.id);
    const same =
      all.find((item) => item === document.activeElement) ??
      copies.find((item) => placeOf(item) === last?.place) ??
      copies[0];
    const next = isDown ? (all.find((item) => placeOf(item) >= last.place) ?? all.at(-1)) : all[0];
    const stop = same ?? next;
    for (const item of all) item.tabIndex = item === stop ? 0 : -1;
    if (isDown) (stop ?? root).focus({ preventScroll: true });
  };
  const neighbour = (here: HTMLElement, key: string) => {
    const all = items();
    const sameColumn = all.filter((item) => item.dataset.column === here.dataset.column);
    if (key === 'ArrowDown' || key === 'ArrowUp')
      return sameColumn[sameColumn.indexOf(here) + (key === 'ArrowDown' ? 1 : -1)];
    const columns = [...new Set(all.map((item) => item.getBoundingClientRect().left))].sort((a, b) => a - b);
    const left = here.getBoundingClientRect().left;
    const next = key === 'ArrowRight' ? columns.find((x) => x > left) : columns.findLast((x) => x < left);
    const top = (item: HTMLElement) =>
      Math.abs(item.getBoundingClientRect().top - here.getBoundingClientRect().top);
    return all
      .filter((item) => item.getBoundingClientRect().left === next)
      .sort((a, b) => top(a) - top(b))[0];
  };
  return {
    update,
    onKey(event: KeyboardEvent) {
      const here = document.activeElement as HTMLElement | null;
      if (!here || !event.key.startsWith('Arrow') || event.altKey || event.ctrlKey || event.metaKey) return;
      // A press of the mouse beside all sessions gives the focus to the calendar: the arrows scroll then, as elsewhere.
      if (here === root ? !held.current?.hasFocus : !here.dataset.id) return;
      const to = here === root ? items()[0] : neighbour(here, event.key);
      if (!to) return;
      event.preventDefault();
      to.focus();
    },
    onFocus({ target, relatedTarget }: FocusEvent) {
      const item = target as HTMLElement;
      if (item.dataset.id) held.current = { id: item.dataset.id, place: placeOf(item), hasFocus: true };
      // The focus is given back to the calendar when what had it is gone; a press of the mouse leaves what has it.
      else if (item === root && held.current) {
        if (root.matches(':focus-visible')) held.current.hasFocus = true;
        else if (relatedTarget) held.current.hasFocus = false;
      }
      update();
    },
    /** What is being removed is gone a moment later; what is left for something else is not given the focus again. */
    onBlur({ target }: FocusEvent) {
      const item = target as HTMLElement;
      queueMicrotask(() => {
        const last = held.current;
        const isLeft = item.isConnected && document.activeElement !== item;
        if (last && isLeft && !root.contains(document.activeElement)) last.hasFocus = false;
      });
    },
  };
}
