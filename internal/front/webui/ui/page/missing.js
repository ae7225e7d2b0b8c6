// A path that leads nowhere.
import {html} from '../vendor/preact.js';
import {href} from '../lib/place.js';
import {Page} from '../part/page.js';

export const Missing = () => html`<${Page} title="There is no such page"><p><a href=${href('')}>Overview</a></p></${Page}>`;
