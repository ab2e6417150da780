import { beforeEach, it } from 'vitest';
import type { Clinic } from '../functions/clinic.ts';
import { book, describeInBrowser, drag, openWebClinic, pointAt, sitDown } from './browser.ts';

describeInBrowser('tmp', () => {
  let clinic: Clinic;
  beforeEach(async () => {
    clinic = await openWebClinic();
  });
  it('shot', async () => {
    const id = await book(clinic, { start: '2027-02-03T10:00' });
    await book(clinic, { client: clinic.clients[1], start: '2027-02-04T10:00' });
    const { page, context } = await sitDown(clinic.rbt, { path: '/schedule?view=week&date=2027-02-03' });
    await page.locator('.ec-event.scheduled').nth(1).waitFor();
    const block = page.locator(`.ec-event[data-id="${id}"]`);
    console.log(await block.boundingBox());
    await page.screenshot({ path: '/tmp/team/web-1.png' });
    await drag(page, await pointAt(page, 2, 630), await pointAt(page, 3, 645));
    await page.getByText('Rob Short has a session').waitFor();
    console.log(
      await block.boundingBox(),
      await page.evaluate(
        'JSON.stringify([scrollY, document.querySelector(".ec-main")?.scrollTop, document.querySelector(".schedule-main")?.scrollTop, document.querySelector("main").scrollTop, document.querySelector("#app").scrollTop])',
      ),
    );
    await page.screenshot({ path: '/tmp/team/web-2.png' });
    await context.close();
  });
});
