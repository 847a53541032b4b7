<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 200 200" width="200" height="200" role="img">
  <title>{{sentence}}</title>
  <rect width="200" height="200" fill="#eef1f4"/>
  <g fill="none" stroke="#8796a5" stroke-width="6" stroke-linejoin="round">
    <rect x="68" y="72" width="64" height="50" rx="6"/>
    <path d="M80 72V56a20 20 0 0 1 40 0v16M100 90v14"/>
  </g>
  <text x="100" y="156" font-family="system-ui, sans-serif" font-size="18" text-anchor="middle" fill="#2b3a48">Not public</text>
</svg>
