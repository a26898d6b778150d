// Before the first paint, so that no page flashes in the other theme: the link's word, else the reader's, else the system's.
(function () {
  var theme = new URLSearchParams(location.search).get('theme');
  try { theme = theme || localStorage.getItem('muster-theme'); } catch (e) { /* storage is off */ }
  if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme;
})();
