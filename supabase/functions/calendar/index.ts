import { handleCalendar } from './handler.ts';

export default { fetch: handleCalendar };
