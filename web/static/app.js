// The page is whole without this file: it keeps what is shown up to date, and adds keys, the choice of theme and "are you sure?".
'use strict';
(() => {
  const root = document.documentElement, themes = ['auto', 'light', 'dark'];
  const stored = () => { try { return localStorage.getItem('theme'); } catch { return null; } };
  const setTheme = name => {
    root.dataset.theme = name;
    try { localStorage.setItem('theme', name); } catch { /* it holds for this page */ }
    const button = document.getElementById('theme');
    if (button) button.textContent = {auto: 'Theme: system', light: 'Theme: light', dark: 'Theme: dark'}[name];
  };
  root.dataset.theme = themes.includes(stored()) ? stored() : 'auto';
  if (location.hash.startsWith('#/')) { // addresses of RabbitMQ's page
    const [kind, vhost, name] = location.hash.slice(2).split('/').map(decodeURIComponent);
    const one = {queues: '/queue', exchanges: '/exchange'}[kind];
    location.replace(one && name !== undefined ? one + '?' + new URLSearchParams({vhost, name}) : '/' + encodeURIComponent(kind || ''));
  }

  document.addEventListener('DOMContentLoaded', () => {
    const every = Number(document.body.dataset.every) * 1000, lost = document.getElementById('lost');
    let answered = new Date(), asking = false;
    const take = text => {
      const fresh = new DOMParser().parseFromString(text, 'text/html');
      for (const part of document.querySelectorAll('[data-live]')) {
        const next = fresh.getElementById(part.id);
        if (!next || next.innerHTML === part.innerHTML || part.contains(document.activeElement) && document.activeElement.matches('input, textarea, select')) continue;
        const focus = part.contains(document.activeElement) ? [...part.querySelectorAll('a, button')].indexOf(document.activeElement) : -1;
        part.replaceChildren(...next.childNodes);
        if (focus >= 0) part.querySelectorAll('a, button')[focus]?.focus();
      }
    };
    const ask = async () => {
      if (asking || document.hidden) return;
      asking = true;
      try {
        const answer = await fetch(location.href.split('#')[0], {headers: {'X-Live': '1'}, signal: AbortSignal.timeout(20000)});
        if (answer.status === 401) return location.reload();
        if (answer.ok) take(await answer.text());
        answered = new Date();
        lost.hidden = answer.status < 500;
      } catch {
        lost.hidden = false;
      } finally {
        asking = false;
        lost.querySelector('time').textContent = answered.toLocaleTimeString();
      }
    };
    if (every > 0) {
      setInterval(ask, every);
      document.addEventListener('visibilitychange', ask);
    }

    document.querySelector('header nav [aria-current]')?.scrollIntoView({block: 'nearest', inline: 'center'}); // on a narrow screen they are a line

    const next = () => setTheme(themes[(themes.indexOf(root.dataset.theme) + 1) % themes.length]);
    const help = document.getElementById('help');
    for (const [id, act] of [['theme', next], ['keys', () => help.showModal()]]) {
      const button = document.getElementById(id);
      if (button) { button.hidden = false; button.addEventListener('click', act); }
    }
    setTheme(root.dataset.theme);
    document.addEventListener('submit', event => {
      const sure = event.submitter?.dataset.sure || event.target.elements.take?.checked && event.submitter?.dataset.sureTake;
      if (sure && !confirm(sure)) event.preventDefault();
    });
    if (location.hash === '#declare') document.querySelector('details#declare')?.setAttribute('open', '');

    let before = '';
    document.addEventListener('keydown', event => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches('input, textarea, select') || help?.open) return;
      const key = event.key, was = before;
      before = key === 'g' ? key : '';
      const at = was === 'g' ? document.querySelector(`nav [data-key="${CSS.escape(key)}"]`)
        : key === '[' ? document.querySelector('[rel=prev]') : key === ']' ? document.querySelector('[rel=next]') : null;
      if (at) at.click();
      else if (key === '/') document.querySelector('[data-find]')?.focus();
      else if (key === '?') help?.showModal();
      else if (key === 't') next();
      else return;
      event.preventDefault();
    });
  });
})();
