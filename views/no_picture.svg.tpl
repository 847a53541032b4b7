<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 200 200" width="200" height="200" role="img">
  <title>{{sentence}}</title>
  <rect width="200" height="200" fill="#eef1f4"/>
  <g fill="none" stroke="#8796a5" stroke-width="4" stroke-linejoin="round">
    <path d="M70 24h42l20 20v46H70z"/>
    <path d="M112 24v20h20M84 66l30 16M84 82l30-16"/>
  </g>
  <g font-family="system-ui, sans-serif" font-size="15" text-anchor="middle" fill="#2b3a48">
% for number, line in enumerate(lines):
    <text x="100" y="{{116 + 19 * number}}">{{line}}</text>
% end
  </g>
</svg>
