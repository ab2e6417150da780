/** The few parts every page is made of. Dialogs, focus and inertness are the browser's own. */
import { CircleAlert, type LucideIcon, X } from 'lucide-react';
import { Component, type ComponentProps, type ReactNode, useEffect, useId, useState } from 'react';
import { type Action, useAction, useButton, useForm, useLayer, useProblem } from 'therapist-sessions/react';

/** A bug of the app itself: the same words as for a fault of the server. */
export class ErrorBoundary extends Component<{ children: ReactNode }, { failed: boolean }> {
  override state = { failed: false };
  static getDerivedStateFromError() {
    return { failed: true };
  }
  override render() {
    if (!this.state.failed) return this.props.children;
    return (
      <Narrow title="Something went wrong on our side">
        <p>What was booked is safe.</p>
        <Button label="Reload this page" press={() => location.reload()} />
      </Narrow>
    );
  }
}

interface ButtonProps extends ComponentProps<'button'> {
  readonly label: ReactNode;
  readonly icon?: LucideIcon;
  /** Of an icon alone the label is read by screen readers only. */
  readonly look?: 'primary' | 'danger' | 'small' | 'icon' | 'row-button';
  /** Runs what it does once at a time, and nothing while there is no network. */
  readonly by?: Action;
  /** What it says while it works, such as `Booking…`. */
  readonly saying?: string;
  /** What it does; without it, it submits its form. */
  press?(): unknown;
}

/** A button; one that calls the server says what it does, and after three seconds that nothing is lost. */
export function Button({ label, icon: Icon, look, by, saying, press, ...button }: ButtonProps) {
  const { works, isSlow, stops, isOffline, onClick } = useButton(by, press);
  const type = press ? 'button' : 'submit';
  return (
    <>
      <button type={type} className={look} aria-disabled={stops || undefined} {...button} onClick={onClick}>
        {Icon && <Icon size={16} aria-hidden />}
        <span className={look === 'icon' ? 'hidden' : undefined}>{works && saying ? saying : label}</span>
      </button>
      {isOffline && !press && <small className="muted">You are offline.</small>}
      {isSlow && !isOffline && <small className="muted">Still working. Nothing is lost.</small>}
    </>
  );
}

interface FormProps {
  readonly submit: string;
  readonly saying: string;
  readonly danger?: boolean;
  readonly cancel?: string;
  readonly className?: string;
  readonly children?: ReactNode;
  /** Is given what was entered, by the names of the fields. */
  onSubmit(values: Readonly<Record<string, string>>, form: HTMLFormElement): Promise<unknown>;
  onCancel?(): void;
}

/** A form that sends what was entered once, and says what was wrong with it. */
export function Form({ submit, saying, danger, cancel = 'Leave it', className, children, onSubmit: send, onCancel }: FormProps) {
  const { action, onSubmit } = useForm(send);
  return (
    <form className={className} onSubmit={onSubmit}>
      {children}
      <Failure error={action.error} />
      <div className="row">
        <Button label={submit} by={action} saying={saying} look={danger ? 'danger' : 'primary'} />
        {onCancel && <Button label={cancel} press={onCancel} />}
      </div>
    </form>
  );
}

interface Labelled {
  readonly label: ReactNode;
  onValue?(value: string): void;
}

export function Field({ label, onValue, ...input }: Labelled & ComponentProps<'input'>) {
  return (
    <label>
      {label}
      <input {...input} onChange={onValue && ((event) => onValue(event.target.value))} />
    </label>
  );
}

/** One of several, each a value and what it is called. */
type Options = Readonly<Record<string, string>> | readonly (readonly [value: string, label: string])[];
type ChoiceProps = Labelled & { readonly options: Options; readonly none?: string } & ComponentProps<'select'>;

/** Binds an input to a field of a form that is kept by a hook. */
export function bind<Fields extends object, Name extends keyof Fields & string>(
  { fields, set }: { readonly fields: Fields; set(changes: Partial<Fields>): void },
  name: Name,
) {
  const onValue = (value: string) => set({ [name]: value } as unknown as Partial<Fields>);
  return { name, value: fields[name] as string, onValue };
}

/** Which sessions of a series a change is of. */
export const scopes = { this: 'This session', following: 'This and the following', all: 'All to come' };

/** One of some options; `none` is what choosing none of them is called. */
export function Choice({ label, options, none, onValue, ...select }: ChoiceProps) {
  return (
    <label>
      {label}
      <select {...select} onChange={onValue && ((event) => onValue(event.target.value))}>
        {none && <option value="">{none}</option>}
        {(Array.isArray(options) ? options : Object.entries(options)).map(([value, text]) => (
          <option key={value} value={value}>
            {text}
          </option>
        ))}
      </select>
    </label>
  );
}

export function Check({ label, checked, onChecked }: { label: string; checked: boolean; onChecked(on: boolean): void }) {
  return (
    <label className="check">
      <input type="checkbox" checked={checked} onChange={({ target }) => onChecked(target.checked)} /> {label}
    </label>
  );
}

interface Column<Row> {
  readonly head: string;
  readonly isNumber?: boolean;
  cell(row: Row): ReactNode;
}

export function Table<Row>({ rows, columns }: { rows: readonly Row[]; columns: readonly Column<Row>[] }) {
  return (
    <div className="scroll">
      <table>
        <thead>
          <tr>
            {columns.map(({ head, isNumber }) => (
              <th key={head} scope="col" className={isNumber ? 'number' : ''}>
                {head}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={JSON.stringify(row)}>
              {columns.map(({ head, isNumber, cell }) => (
                <td key={head} className={isNumber ? 'number' : ''}>
                  {cell(row)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** A page of a few words, such as that there is nothing here: whether for anybody or for who asks looks the same. */
export function Narrow({ title, children }: { title: string; children: ReactNode }) {
  return (
    <div className="page narrow">
      <h1>{title}</h1>
      {children}
    </div>
  );
}

/** A button that opens something, until that closes itself. */
export function Opener({ label, children }: Pick<ButtonProps, 'label'> & { children(close: () => void): ReactNode }) {
  const [isOpen, setOpen] = useState(false);
  return (
    <>
      <Button label={label} press={() => setOpen(true)} />
      {isOpen && children(() => setOpen(false))}
    </>
  );
}

/** Facts by name; those that are not known are left out. */
export function Facts({ facts }: { facts: Readonly<Record<string, string | undefined>> }) {
  const known = Object.entries(facts).filter(([, value]) => value);
  return (
    <dl>
      {known.map(([label, value]) => (
        <div key={label}>
          <dt>{label}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

/** As a ref: gives the focus to what appears, which is to be read first. */
export const takeFocus = (element: HTMLElement | null) => element?.focus();
/** As a ref, too: unless somebody has gone on elsewhere than in the layer of what appears. */
export const takeFocusInLayer = (element: HTMLElement | null) => {
  const at = document.activeElement;
  if (at === document.body || element?.closest('aside, dialog')?.contains(at)) element?.focus();
};

export function ErrorLine({ children }: { children: ReactNode }) {
  return (
    <p className="error" role="alert" tabIndex={-1} ref={takeFocus}>
      <CircleAlert size={16} aria-hidden /> {children}
    </p>
  );
}

/** What went wrong, in words; the request's id for what somebody has to look into. */
export function Failure({ error }: { error: unknown }) {
  const { text, reference } = useProblem(error);
  return text ? (
    <ErrorLine>
      {text} {reference && <small>Reference {reference}</small>}
    </ErrorLine>
  ) : null;
}

interface LayerProps {
  readonly title: string;
  readonly badge?: ReactNode;
  /** A dialog over the page; else a drawer beside it, which is a sheet over it on a phone. */
  readonly isModal?: boolean;
  readonly children: ReactNode;
  onClose(): void;
}

/** Something over or beside the page. Escape and the cross close it, and the focus returns to what opened it. */
export function Layer({ title, badge, isModal = false, children, onClose }: LayerProps) {
  const id = useId();
  const { layer, onCancel } = useLayer<HTMLDialogElement>(onClose);
  const Tag = isModal ? 'dialog' : 'aside';
  return (
    <Tag className={isModal ? undefined : 'panel'} aria-labelledby={id} ref={layer} tabIndex={-1} onCancel={onCancel}>
      <div className="head">
        <h2 id={id}>{title}</h2>
        {badge}
        <Button label="Close" icon={X} look="icon" press={onClose} />
      </div>
      {children}
    </Tag>
  );
}

/** What was just done, and for ten seconds a way back. */
export interface Notice {
  readonly text: string;
  readonly undo?: () => Promise<unknown>;
}
export function NoticeBar({ notice, onDone }: { notice: Notice | null; onDone(): void }) {
  const action = useAction();
  const undo = notice?.undo;
  useEffect(() => {
    const timer = notice ? setTimeout(onDone, 10_000) : undefined;
    return () => clearTimeout(timer);
  }, [notice]);
  return (
    <div role="status" className={notice ? 'notice shown' : 'notice'}>
      <span>{notice?.text}</span>
      {undo && <Button label="Undo" by={action} saying="Undoing…" press={() => undo().then(onDone)} />}
    </div>
  );
}

/** Loading, failed or empty; nothing when there is something to show. */
export function State({ pending, error, empty }: { pending: boolean; error?: unknown; empty?: string | false }) {
  if (error) return <Failure error={error} />;
  if (!pending) return empty ? <p className="muted empty">{empty}</p> : null;
  return (
    <p className="muted loading" role="status">
      Loading…
    </p>
  );
}
