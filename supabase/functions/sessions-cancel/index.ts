import { handleCancel } from './handler.ts';

export default { fetch: handleCancel };
