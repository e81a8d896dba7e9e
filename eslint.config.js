// Rules for all scripts of the project; `make check` applies them. What a formatter decides is prettier's business.
import js from "@eslint/js";
import globals from "globals";

export default [
  js.configs.recommended,
  {
    languageOptions: { ecmaVersion: 2024, sourceType: "module", globals: globals.browser },
    linterOptions: { reportUnusedDisableDirectives: "error" },
    rules: {
      "consistent-return": "error",
      eqeqeq: "error",
      "max-len": ["error", { code: 120, ignoreUrls: true }],
      "no-nested-ternary": "error",
      "no-sequences": "error",
      "no-shadow": "error",
      "no-unused-expressions": "error",
      "no-var": "error",
      "object-shorthand": "error",
      "prefer-const": "error",
    },
  },
  { files: ["tests/js/**", "*.config.js"], languageOptions: { globals: globals.node } },
  {
    files: ["book/_static/*.js"],
    languageOptions: { sourceType: "script", globals: { DOCUMENTATION_OPTIONS: "readonly" } },
  },
];
