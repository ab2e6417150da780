/** Something came back that the contract does not promise. The message is for the person at the terminal. */
export class DemoFailure extends Error {
  override readonly name = 'DemoFailure';
}
