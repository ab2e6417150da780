/** Time without a client, such as a meeting: entered for one or several people, changed, cancelled. */
import { staffTimeWords } from 'therapist-sessions';
import {
  type StaffTimeListener,
  type StaffTimeStart,
  useAction,
  useMe,
  useStaffTimeForm,
  useTherapists,
} from 'therapist-sessions/react';
import { Repeats, When } from './booking.tsx';
import { Refusal } from './refusal.tsx';
import { Button, bind, Check, Choice, Failure, Form, Layer, scopes } from './ui.tsx';

interface Props extends StaffTimeStart, StaffTimeListener {
  onClose(): void;
}

export function StaffTime({ onClose, onDone, onPlace, ...start }: Props) {
  const { isAdmin } = useMe();
  const { therapists } = useTherapists();
  const action = useAction();
  const form = useStaffTimeForm(start, { onDone, onPlace });
  const { fields, refused } = form;
  const { staffTime } = start;
  return (
    <Layer title={staffTime ? staffTimeWords[staffTime.kind] : 'Time without a client'} onClose={onClose}>
      <Form submit={staffTime ? 'Save' : 'Block this time'} saying="Saving…" onSubmit={form.submit}>
        <Choice label="Kind" data-autofocus options={staffTimeWords} {...bind(form, 'kind')} />
        {isAdmin && (
          <fieldset>
            <legend>Whose time</legend>
            {therapists.map(({ id, display_name }) => (
              <Check
                key={id}
                label={display_name}
                checked={fields.therapistIds.includes(id)}
                onChecked={(isIn) => form.choose(id, isIn)}
              />
            ))}
          </fieldset>
        )}
        <When form={form} />
        {!staffTime && <Repeats form={form} />}
        {staffTime?.series_id && <Choice label="Which" options={scopes} {...bind(form, 'scope')} />}
      </Form>
      {refused && <Refusal error={refused} isTaken={false} onTry={form.retry} onOther={form.dismiss} />}
      {staffTime && <Button label="Cancel it" by={action} saying="Cancelling…" look="danger" press={form.cancel} />}
      <Failure error={action.error} />
    </Layer>
  );
}
