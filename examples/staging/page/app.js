// The page: sends orders, follows their statuses, shows before and after. Nothing is loaded from elsewhere.

const $ = (id) => document.getElementById(id);
const form = $('order');
const maxBytes = Number(form.dataset.maxBytes);
const photoKinds = ['image/jpeg', 'image/png', 'image/webp'];
const final = (status) => ['succeeded', 'failed', 'canceled'].includes(status?.state);

let upload = null; // the person's own file
let shown = null; // the job in the view
let stream = null; // its events
let running = false; // whether an order of this page is under way
const jobs = new Map(); // by id

// ── the picture ──────────────────────────────────────────────────────────────

$('file').addEventListener('change', () => takeFile($('file').files[0]));

async function takeFile(file) {
  if (!file) return;
  if (!photoKinds.includes(file.type)) {
    return complain(`“${file.name}” is not a picture that can be read: use JPEG, PNG or WebP.`);
  }
  if (file.size > maxBytes) {
    return complain(`“${file.name}” has ${mebibytes(file.size)}: at most ${mebibytes(maxBytes)} are accepted.`);
  }
  const picture = new Image();
  picture.src = URL.createObjectURL(file);
  try {
    await picture.decode();
  } catch {
    URL.revokeObjectURL(picture.src);
    return complain(`“${file.name}” is damaged or not a picture: your browser cannot read it.`);
  }
  complain('');
  upload = file;
  $('mine-preview').src = picture.src; // the one before stays, as the view may show it
  $('mine').hidden = false;
  $('mine').title = file.name;
  $('mine').querySelector('input').checked = true;
  preview();
}

const mebibytes = (n) => `${(n / 2 ** 20).toFixed(n < 2 ** 20 ? 2 : 0)} MiB`;

for (const kind of ['dragenter', 'dragover']) {
  document.addEventListener(kind, (e) => {
    e.preventDefault();
    $('drop').classList.add('over');
  });
}
document.addEventListener('dragleave', (e) => e.relatedTarget || $('drop').classList.remove('over'));
document.addEventListener('drop', (e) => {
  e.preventDefault();
  $('drop').classList.remove('over');
  takeFile(e.dataTransfer.files[0]);
});
document.addEventListener('paste', (e) => takeFile(e.clipboardData?.files[0]));

form.addEventListener('change', (e) => {
  if (e.target.name !== 'picture') return;
  const room = e.target.dataset.room; // what a bundled picture suits
  if (room) form.querySelector(`[name=room_type][value="${CSS.escape(room)}"]`).checked = true;
  preview();
});

// preview shows the chosen picture in the view, while nothing is being staged.
function preview() {
  if (running) return;
  const picture = form.querySelector('[name=picture]:checked');
  leave();
  layOut('empty', picture.closest('label').querySelector('img').src);
  $('view-title').textContent = 'Ready when you are';
  say('');
}

$('surprise').addEventListener('click', () => {
  $('seed').value = 1 + Math.floor(Math.random() * 99999);
});

// ── the order ────────────────────────────────────────────────────────────────

form.addEventListener('submit', (e) => {
  e.preventDefault();
  const order = new FormData(form);
  const sample = order.get('picture');
  order.delete('picture');
  if (sample) order.set('sample', sample);
  else order.set('image', upload, upload.name);
  send(order);
});

$('again').addEventListener('click', () => {
  const order = new FormData();
  order.set('again', shown.id);
  order.set('room_type', shown.room_type);
  order.set('style', shown.style);
  order.set('prompt', shown.prompt ?? '');
  order.set('seed', 1 + Math.floor(Math.random() * 99999));
  send(order);
});

async function send(order) {
  if (running) return;
  complain('');
  busy(true);
  try {
    const response = await fetch('/jobs', { method: 'POST', body: order });
    const answer = await response.json();
    if (!response.ok) throw new Error(answer.error);
    jobs.set(answer.id, answer);
    drawGallery();
    show(answer);
    if (matchMedia('(max-width: 62rem)').matches) $('view').scrollIntoView({ behavior: 'smooth' });
  } catch (err) {
    busy(false);
    complain(err instanceof TypeError ? 'The program does not answer. Is it still running?' : sentence(err.message));
  }
}

function busy(on) {
  running = on;
  $('go').disabled = $('again').disabled = on;
  $('go').textContent = on ? 'Staging…' : 'Stage this room';
}

function complain(text) {
  $('order-problem').textContent = text;
  $('order-problem').hidden = !text;
}

// ── the view ─────────────────────────────────────────────────────────────────

function leave() {
  stream?.close();
  stream = shown = null;
  lost(false);
  $('view-foot').hidden = $('told').hidden = $('view-problem').hidden = true;
  $('story').replaceChildren();
  markGallery();
}

// show puts a job into the view, and follows it to its end.
function show(job) {
  leave();
  shown = job;
  $('view-title').textContent = `${job.room}, ${job.style_label}`;
  layOut('busy', job.original_url);
  markGallery();
  if (final(job.status)) arrive(job, job.status);
  else busy(true);
  follow(job); // of a job that is over, too: that replays its story
}

function follow(job) {
  const events = (stream = new EventSource(job.events_url));
  let began = 0;
  let version = null;
  $('story').replaceChildren();
  events.addEventListener('status', (e) => {
    const status = JSON.parse(e.data);
    if (status.version === version) return; // told again after a reconnect
    version = status.version;
    began ||= Date.parse(status.at);
    tell(status, Date.parse(status.at) - began);
    if (!final(job.status)) update(job, status);
    if (final(status)) events.close();
  });
  events.onopen = () => {
    if (lost(false)) refresh();
  };
  events.onerror = async () => {
    if (final(job.status)) return events.close();
    lost(true);
    if (events.readyState !== EventSource.CLOSED) return; // the browser reconnects, and reads what it missed
    const response = await fetch(`/jobs/${job.id}`).catch(() => null);
    if (response?.status === 404) return update(job, { state: 'failed', error: 'the program no longer knows of this picture' });
    if (response?.ok) update(job, (await response.json()).status);
    if (!final(job.status)) setTimeout(() => stream === events && follow(job), 2000);
  };
}

// lost shows whether the program can be reached, and returns whether it could not be until now.
function lost(on) {
  const before = !$('lost').hidden;
  $('lost').hidden = !on;
  return before;
}

function update(job, status) {
  job.status = status;
  if (shown === job) {
    lost(false);
    if (final(status)) arrive(job, status);
    else advance(status);
  }
  if (final(status)) busy(false);
  drawGallery();
}

function advance(status) {
  setBar(status.progress);
  const percent = Math.round(100 * status.progress);
  if (status.state === 'running') return say(status.message || 'running', `${percent} %`);
  if (status.state === 'retrying') {
    return say(`Attempt ${status.attempt} of ${status.max_attempts} failed, it will run again`, plain(status.error));
  }
  say('waiting for a worker', status.state);
}

// arrive shows what became of a job.
function arrive(job, status) {
  if (status.state !== 'succeeded') {
    layOut('failed', job.original_url);
    setBar(1, true);
    say(status.state === 'canceled' ? 'canceled' : 'This picture could not be staged');
    $('view-problem').textContent = sentence(plain(status.error));
    $('view-problem').hidden = !status.error;
    return;
  }
  const result = status.result;
  setBar(1);
  layOut('done', job.original_url, result.staged_url);
  say('staged', '100 %');
  $('facts').textContent = [`seed ${result.seed}`, `${result.width} × ${result.height} pixels`,
    `${Math.round(result.bytes / 1024)} kB`, result.model, job.prompt && `“${job.prompt}”`].filter(Boolean).join(' · ');
  $('download').href = result.staged_url;
  $('download').download = `staged-${job.room_type}-${job.style}-${result.seed}.jpg`;
  $('view-foot').hidden = false;
}

function layOut(state, before, after) {
  $('compare').dataset.state = state;
  if ($('before').getAttribute('src') !== before) $('before').src = $('ghost').src = before;
  $('after').hidden = !after;
  if (after) $('after').src = after;
  $('after-caption').textContent = { empty: 'Not staged yet', busy: 'Staging…', failed: 'Not staged', done: 'After' }[state];
  if (state === 'empty') setBar(0);
}

// The view takes the picture's own shape.
$('before').addEventListener('load', () => {
  const { naturalWidth: w, naturalHeight: h } = $('before');
  $('compare').style.setProperty('--shape', `${w}/${h}`);
  $('compare').dataset.shape = w > 2.2 * h ? 'wide' : 'usual';
});

function setBar(fraction, failed = false) {
  const percent = Math.round(100 * (fraction || 0));
  $('bar').classList.toggle('failed', failed);
  $('bar').setAttribute('aria-valuenow', percent);
  $('bar').firstElementChild.style.width = `${percent}%`;
}

function say(text, detail = '') {
  const strong = document.createElement('b');
  strong.textContent = text;
  $('now').replaceChildren(strong, detail && ` · ${detail}`);
}

function tell(status, after) {
  const line = document.createElement('li');
  const percent = status.state === 'running' || status.state === 'succeeded' ? `${Math.round(100 * status.progress)}%` : '';
  const remark = plain(status.error) || status.message || '';
  line.textContent = [`${(after / 1000).toFixed(2)} s`.padStart(8), status.state.padEnd(9), percent.padStart(4), remark].join('  ');
  $('story').append(line);
  $('told').hidden = false;
}

// plain drops the name of the step from an error.
const plain = (error) => (error ?? '').replace(/^(open original|stage|put staged picture): /, '');

function sentence(text) {
  if (!text) return '';
  return text[0].toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? '' : '.');
}

for (const button of document.querySelectorAll('.switch button')) {
  button.addEventListener('click', () => {
    $('compare').dataset.mode = button.dataset.mode;
    for (const other of document.querySelectorAll('.switch button')) other.ariaPressed = String(other === button);
  });
}
$('cut').addEventListener('input', () => $('compare').style.setProperty('--cut', `${$('cut').value}%`));

// ── the gallery ──────────────────────────────────────────────────────────────

function drawGallery() {
  const entries = [...jobs.values()].filter((job) => final(job.status)).sort((a, b) => (a.id < b.id ? 1 : -1)); // ids rise with time
  $('gallery-hint').hidden = entries.length > 0;
  const list = $('gallery');
  const known = new Map([...list.children].map((li) => [li.dataset.id, li]));
  list.replaceChildren(...entries.map((job) => known.get(job.id) ?? entry(job)));
  markGallery();
}

function entry(job) {
  const ok = job.status.state === 'succeeded';
  const item = document.createElement('li');
  item.dataset.id = job.id;
  const button = document.createElement('button');
  button.type = 'button';
  button.classList.toggle('failed', !ok);
  const img = document.createElement('img');
  img.loading = 'lazy';
  img.src = ok ? job.status.result.staged_url : job.original_url;
  img.alt = '';
  const caption = document.createElement('span');
  const detail = document.createElement('small');
  detail.textContent = ok ? `${job.style_label} · seed ${job.status.result.seed}` : 'could not be staged';
  caption.append(job.room, detail);
  button.append(img, caption);
  button.addEventListener('click', () => {
    if (running) return;
    show(job);
    $('view').scrollIntoView({ behavior: 'smooth', block: 'nearest' });
  });
  item.append(button);
  return item;
}

function markGallery() {
  for (const item of $('gallery').children) {
    item.firstElementChild.ariaCurrent = String(item.dataset.id === shown?.id);
  }
}

// ── the beginning ────────────────────────────────────────────────────────────

// refresh reads what other pages, or this one before it lost the program, have ordered, and returns it, the newest first.
async function refresh() {
  const response = await fetch('/jobs').catch(() => null);
  const list = response?.ok ? (await response.json()).jobs : [];
  for (const job of list) {
    const known = jobs.get(job.id);
    if (!known) jobs.set(job.id, job);
    else if (known !== shown) known.status = job.status; // what is shown is followed
  }
  drawGallery();
  return list;
}

document.addEventListener('visibilitychange', () => document.hidden || refresh());

async function begin() {
  preview();
  const list = await refresh();
  if (shown) return;
  const open = list.find((job) => !final(job.status));
  if (open ?? list[0]) show(jobs.get((open ?? list[0]).id));
}

begin();
