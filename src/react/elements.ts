/** What native elements lack: buttons and forms that work once at a time, and layers that keep the focus. */
import {
  type FormEvent,
  type KeyboardEvent,
  type MouseEvent,
  useEffect,
  useLayoutEffect,
  useRef,
  useState,
} from 'react';
import {
  type Countdown,
  countdown,
  issueSentence,
  messageOf,
  minutesAndSeconds,
  SessionsApiError,
} from '../lib/index.ts';
import { type Action, useAction, useOnline, useSeconds } from './actions.ts';
import { elementOf, focusHeading, isLost } from './focus.ts';

/** How a button stands. */
export interface ButtonState {
  /** What it does is under way. */
  readonly works: boolean;
  /** It has been for longer than a few seconds. */
  readonly isSlow: boolean;
  /** A press does nothing now: something is under way, or there is no network. */
  readonly stops: boolean;
  readonly isOffline: boolean;
  onClick(event: MouseEvent): void;
}

/** After this long somebody wonders whether anything happens. */
const SLOW_MS = 3000;

/**
 * A button whose press runs once at a time.
 *
 * @param by - the action it belongs to; without one it never waits
 * @param press - what it does; without it, it submits its form
 */
export function useButton(by: Action | undefined, press?: () => unknown): ButtonState {
  const isOffline = !useOnline() && by !== undefined;
  const [isPressed, setPressed] = useState(false);
  const [isSlow, setSlow] = useState(false);
  const isBusy = by?.busy ?? false;
  const works = isBusy && isPressed;
  useEffect(() => {
    if (!isBusy) setPressed(false);
    const timer = works ? setTimeout(() => setSlow(true), SLOW_MS) : undefined;
    return () => {
      clearTimeout(timer);
      setSlow(false);
    };
  }, [isBusy, works]);
  const stops = isBusy || isOffline;
  return {
    ...{ works, isSlow, stops, isOffline },
    onClick(event) {
      if (stops) return event.preventDefault();
      setPressed(true);
      if (by && press) void by.run(async () => await press());
      else press?.();
    },
  };
}

/**
 * A form that sends what was entered once at a time.
 *
 * @param send - is given what was entered, by the names of the fields, without spaces around it
 * @returns its action, and what to give the form as `onSubmit`
 */
export function useForm(
  send: (values: Readonly<Record<string, string>>, form: HTMLFormElement) => Promise<unknown>,
) {
  const action = useAction();
  const onSubmit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = event.currentTarget;
    const entered = [...new FormData(form)].map(([name, value]) => [name, String(value).trim()]);
    void action.run(() => send(Object.fromEntries(entered), form));
  };
  return { action, onSubmit };
}

/** What opened each layer, and the part of the page around it that keeps its focus itself. */
const openers = new WeakMap<Node, { readonly opener: HTMLElement; readonly keeper: HTMLElement | null }>();

/** What opened a layer; when it was drawn anew, or closed with a layer of its own, what stands for it now. */
function openerOf(layer: Node): HTMLElement | null {
  const opened = openers.get(layer);
  if (!opened || opened.opener === document.body) return null;
  const { opener, keeper } = opened;
  if (opener.isConnected) return opener;
  const same = elementOf(opener);
  if (same) return same;
  if (keeper?.isConnected) return keeper;
  for (let around: HTMLElement | null = opener; around; around = around.parentElement)
    if (openers.has(around)) return openerOf(around);
  return null;
}

/**
 * Something over or beside the page: a native `<dialog>` is opened as a modal one, anything else is a drawer. Escape
 * closes either, and the focus returns to what opened it, or to what is drawn in its place. In a drawer the focus begins at `[data-autofocus]`.
 *
 * @param onClose - told that it is to be closed
 * @returns the ref of the element, and what to give a dialog as `onCancel`
 */
export function useLayer<Element extends HTMLElement>(onClose: () => void) {
  const layer = useRef<Element>(null);
  const [before] = useState(() => document.activeElement);
  const close = useRef(onClose);
  close.current = onClose;
  const onCancel = (event: { preventDefault(): void }) => {
    event.preventDefault();
    close.current();
  };
  // Before the browser draws, and before the layer is taken off the page: the focus is never nowhere.
  useLayoutEffect(() => {
    const element = layer.current;
    if (!element) return;
    // Something inside may have taken the focus already, such as a refusal.
    const isInside = element.contains(document.activeElement);
    const opener = ((isInside ? before : document.activeElement) ?? document.body) as HTMLElement;
    openers.set(element, { opener, keeper: opener.closest<HTMLElement>('[data-keeps-focus]') });
    const isModal = element instanceof HTMLDialogElement;
    if (isModal) element.showModal();
    else if (!isInside) (element.querySelector<HTMLElement>('[data-autofocus]') ?? element).focus();
    const onKey = (event: { readonly key: string; preventDefault(): void }) => {
      if (event.key === 'Escape' && !document.querySelector('dialog[open]')) onCancel(event);
    };
    if (!isModal) addEventListener('keydown', onKey);
    return () => {
      removeEventListener('keydown', onKey);
      const hasFocus = isModal || isLost() || element.contains(document.activeElement);
      if (isModal) element.close();
      if (!hasFocus) return;
      const back = openerOf(element);
      if (back) back.focus();
      else focusHeading();
    };
  }, []);
  return { layer, onCancel };
}

/**
 * A toolbar that is one stop of the Tab key: the left and right arrows, Home and End go from control to control.
 *
 * @returns what to give its element
 */
export function useToolbar<Element extends HTMLElement>() {
  const ref = useRef<Element>(null);
  const last = useRef<HTMLElement | null>(null);
  const settle = () => {
    const controls = [...(ref.current?.querySelectorAll<HTMLElement>('button, select, input') ?? [])];
    const stop = last.current && controls.includes(last.current) ? last.current : controls[0];
    for (const control of controls) control.tabIndex = control === stop ? 0 : -1;
    return controls;
  };
  useEffect(() => void settle());
  return {
    ref,
    onFocus(event: { readonly target: EventTarget }) {
      last.current = event.target as HTMLElement;
      settle();
    },
    onKeyDown(event: KeyboardEvent<HTMLElement>) {
      const controls = settle();
      const here = controls.indexOf(event.target as HTMLElement);
      const to = { ArrowRight: here + 1, ArrowLeft: here - 1, Home: 0, End: controls.length - 1 }[event.key];
      if (here < 0 || to === undefined) return;
      event.preventDefault();
      controls.at(to % controls.length)?.focus();
    },
  };
}

/** Long enough for a calendar to draw what it was given. */
const DRAWN_MS = 100;

/**
 * Prints what is on the screen, with numbers in place of names unless names are asked for: paper lies about.
 *
 * @param before - called first, such as to close a dialog
 * @returns whether names must not be drawn now, and what prints
 */
export function usePrint(before: () => void) {
  const [what, setWhat] = useState<'numbers' | 'names' | null>(null);
  useEffect(() => {
    if (what === null) return;
    const timer = setTimeout(() => {
      print();
      setWhat(null);
    }, DRAWN_MS);
    return () => clearTimeout(timer);
  }, [what]);
  return {
    numbersOnly: what === 'numbers',
    print(wanted: 'numbers' | 'names') {
      before();
      setWhat(wanted);
    },
  };
}

/**
 * A choice that the browser keeps, such as a theme. Nothing about a person belongs in it.
 *
 * @param name - what it is called
 * @param usual - what it is until something is chosen
 */
export function useKept<Value extends string>(name: string, usual: Value) {
  const [value, setValue] = useState(() => (localStorage.getItem(name) as Value | null) ?? usual);
  const keep = (next: Value) => {
    localStorage.setItem(name, next);
    setValue(next);
  };
  return [value, keep] as const;
}

/** Light, dark, or what the system has; kept by the browser. The page's colours follow `color-scheme`. */
export function useTheme() {
  const [theme, setTheme] = useKept<'system' | 'light' | 'dark'>('theme', 'system');
  useLayoutEffect(() => {
    document.documentElement.style.colorScheme = theme === 'system' ? '' : theme;
  }, [theme]);
  return [theme, setTheme] as const;
}

/** The parameters of an address with some changed; null takes one out. */
export function withChanges(
  before: URLSearchParams,
  changes: Readonly<Record<string, string | null>>,
): URLSearchParams {
  const after = new URLSearchParams(before);
  for (const [name, value] of Object.entries(changes))
    value === null ? after.delete(name) : after.set(name, value);
  return after;
}

/** Offers a text to be saved as a file. */
export function saveFile(name: string, text: string, type: string): void {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  URL.revokeObjectURL(link.href);
}

/**
 * What went wrong, in words for the reader; after too many requests with the time until the next may go through.
 *
 * @param error - what a call threw; null for nothing
 * @returns the words, and the request's id where somebody has to look into it
 */
export function useProblem(error: unknown): { readonly text: string; readonly reference: string | null } {
  const known = error instanceof SessionsApiError ? error : null;
  const [left, setLeft] = useState<Countdown | null>(null);
  const wait = known?.status === 429 ? known.retryAfterSeconds : null;
  useEffect(() => setLeft(wait === null ? null : countdown(wait)), [error, wait]);
  useSeconds(left !== null);
  const seconds = left?.secondsLeft() ?? 0;
  const details = known?.status === 400 ? known.issues.map(issueSentence) : [];
  const again = seconds > 0 ? [`Try again in ${minutesAndSeconds(seconds)}.`] : [];
  return {
    text: error ? [messageOf(error), ...details, ...again].join(' ') : '',
    reference: known && known.status >= 500 ? known.requestId : null,
  };
}
