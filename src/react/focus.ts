/** Keeps the keyboard focus on the page when what has it goes away: the browser would give it to nothing. */
import { useLayoutEffect } from 'react';

/** What can have the focus. A calendar's sessions are one stop of the Tab key, and the others have a tabindex of -1. */
const CAN_FOCUS = 'a[href], button, input, select, textarea, summary, [tabindex]';

/** Nothing has the focus. */
export const isLost = () => document.activeElement === null || document.activeElement === document.body;
const isUsable = (element: HTMLElement) =>
  element.isConnected &&
  !element.matches(':disabled') &&
  element.checkVisibility({ visibilityProperty: true });
const isStop = (element: HTMLElement) => element.tabIndex >= 0 && isUsable(element);
const controlsOf = (area: ParentNode) => [...area.querySelectorAll<HTMLElement>(CAN_FOCUS)];

/**
 * The element that stands for the same as another now: whatever is drawn anew keeps its `data-id`. A meeting is drawn in
 * the column of each therapist, and so the same column comes first.
 */
export function elementOf({ dataset: { id, column } }: HTMLElement): HTMLElement | null {
  if (!id) return null;
  const all = [...document.querySelectorAll<HTMLElement>(`[data-id="${CSS.escape(id)}"]`)];
  return all.find((one) => one.dataset.column === column) ?? all[0] ?? null;
}

/** Puts the focus on the heading of the page, for want of a better place. */
export function focusHeading(options?: FocusOptions): void {
  const heading =
    document.querySelector<HTMLElement>('main h1') ?? document.querySelector<HTMLElement>('main');
  if (heading && !heading.hasAttribute('tabindex')) heading.tabIndex = -1;
  heading?.focus(options);
}

/** What had the focus, what it was in, from the inside out, and what stood before it on the page. */
interface Held {
  readonly element: HTMLElement;
  readonly areas: readonly Element[];
  readonly before: readonly HTMLElement[];
  /** The browser showed that it had the focus: it does not after a press of the mouse. */
  readonly isShown: boolean;
}

function holdOf(element: HTMLElement): Held {
  const areas: Element[] = [];
  for (let area = element.parentElement; area; area = area.parentElement) areas.push(area);
  const all = controlsOf(document);
  const before = all.slice(0, Math.max(0, all.indexOf(element)));
  return { element, areas, before, isShown: element.matches(':focus-visible') };
}

/**
 * What stands in the place of something that is gone: what is drawn for the same, else what now follows there, else what
 * came before. A layer has the focus itself before the latter: a key that is pressed again would do something else there.
 * The same holds for somebody who does not see where the focus is, with whatever follows, too.
 */
function successorOf({ element, areas, before, isShown }: Held): HTMLElement | null {
  const same = elementOf(element);
  if (same && isUsable(same)) return same;
  for (const area of areas) {
    if (!area.isConnected) continue;
    // Of a page that is another now, the heading comes first, and not what is above it.
    if (area.matches('main, body') || area.querySelector('main')) return null;
    if (!isShown) {
      if (area.matches('[tabindex]')) return area as HTMLElement;
      continue;
    }
    const stops = controlsOf(area).filter(isStop);
    const previous = before.findLast((one) => area.contains(one) && isStop(one));
    const next = stops.find(
      (one) => !previous || previous.compareDocumentPosition(one) & Node.DOCUMENT_POSITION_FOLLOWING,
    );
    if (next) return next;
    if (area.matches('[tabindex]')) return area as HTMLElement;
    if (previous) return previous;
  }
  return null;
}

/**
 * Keeps the focus of a page for those who have no mouse. When a button, a row or a session that has it goes away, the
 * focus goes to what is drawn in its place: what has the same `data-id`, else what follows in the same part of the page,
 * else the heading. After a press of the mouse it goes to the drawer or the heading, and nothing is scrolled. An element
 * with `data-keeps-focus` does so itself for what is in it.
 *
 * Call it once, in the root of an app.
 */
export function useKeptFocus(): void {
  useLayoutEffect(() => {
    let held: Held | null = null;
    const onFocus = ({ target }: FocusEvent) => {
      if (target instanceof HTMLElement) held = holdOf(target);
    };
    const restore = () => {
      if (!held || !isLost()) return;
      const { element, areas, isShown } = held;
      const preventScroll = !isShown;
      if (areas.some((area) => area.isConnected && area.matches('[data-keeps-focus]'))) return;
      if (isUsable(element)) return element.focus({ preventScroll });
      // What is only switched off for a while gets it back when it is on again.
      if (element.isConnected && element.matches(':disabled')) return;
      const successor = successorOf(held);
      if (successor) successor.focus({ preventScroll });
      else focusHeading({ preventScroll });
    };
    // Somebody who presses beside all controls wants the focus nowhere; what is being removed is gone a moment later. From
    // what is hidden the browser takes the focus after the change was noticed.
    const onBlur = ({ target }: FocusEvent) =>
      queueMicrotask(() => {
        if (held?.element !== target || !isLost()) return;
        if (isUsable(held.element)) held = null;
        else restore();
      });
    const changes = new MutationObserver(restore);
    addEventListener('focusin', onFocus);
    addEventListener('focusout', onBlur);
    changes.observe(document, {
      subtree: true,
      childList: true,
      attributes: true,
      attributeFilter: ['disabled', 'hidden'],
    });
    return () => {
      changes.disconnect();
      removeEventListener('focusin', onFocus);
      removeEventListener('focusout', onBlur);
    };
  }, []);
}
